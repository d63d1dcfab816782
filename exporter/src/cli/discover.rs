//! `hilt discover`: the hardware that is plugged in, as YAML ready to paste.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use drivers::discover::{Entry, Found, Host, discover};

/// List the hardware plugged in, as YAML ready to paste, and what keeps it from being used.
///
/// Hubs are asked whether they can switch their ports; nothing is switched, and nothing else is
/// touched. `hilt discover > bench.yaml && hilt check bench.yaml` makes a first configuration.
#[derive(Debug, Args)]
pub(super) struct Discover {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Look at a copy of a host's /sys, /dev, /proc and /run. Its hubs are not asked.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Discover {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let host = self.root.map_or_else(Host::this, Host::copy);
        let found = discover(&host).context("can't list what is plugged in")?;
        let text = match self.format {
            Format::Text => in_yaml(&found),
            Format::Json => serde_json::to_string_pretty(&found)? + "\n",
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A configuration with everything that there is a driver for, and comments on everything.
fn in_yaml(found: &[Found]) -> String {
    let mut text = String::from(
        "apiVersion: jumpstarter.dev/v1alpha1\n\
         kind: ExporterConfig\n\
         metadata: { namespace: default, name: bench }\n",
    );
    let (usable, others): (Vec<_>, Vec<_>) =
        found.iter().partition(|found| !found.entries.is_empty());
    text +=
        if usable.is_empty() { "# Nothing is plugged in that can be used.\n" } else { "export:\n" };
    for Found { what, entries, obstacles } in usable {
        comment(&mut text, "  ", what);
        for obstacle in obstacles {
            comment(&mut text, "  ", &format!("in the way: {obstacle}"));
        }
        for entry in entries {
            text += &in_one_line(entry);
        }
    }
    for Found { what, obstacles, .. } in others {
        comment(&mut text, "", &format!("{what}: {}", obstacles.join("; ")));
    }
    text
}

/// One comment, whatever the name is that a device gives itself.
fn comment(text: &mut String, indent: &str, comment: &str) {
    let comment = comment.replace(char::is_control, " ");
    text.push_str(&format!("{indent}# {comment}\n"));
}

fn in_one_line(Entry { name, driver, config }: &Entry) -> String {
    let mut settings = String::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        let separator = if settings.is_empty() { "" } else { ", " };
        // A value in JSON is one in YAML.
        write!(settings, "{separator}{key}: {value}").expect("because a string takes everything");
    }
    format!("  {name}: {{ type: {driver}, config: {{ {settings} }} }}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_device_can_not_write_into_the_configuration() {
        let entry = |name: &str, config| Entry { name: name.into(), driver: "a.B", config };
        let found = [
            Found {
                what: "relay\nhooks: {}".into(),
                entries: vec![entry("relay", json!({"serial": "a\"\n# b", "port": 2}))],
                obstacles: vec!["in use".into()],
            },
            Found { what: "hub".into(), entries: vec![], obstacles: vec!["ganged".into()] },
        ];
        let expected = "export:\n  # relay hooks: {}\n  # in the way: in use\n  \
                        relay: { type: a.B, config: { serial: \"a\\\"\\n# b\", port: 2 } }\n# hub: ganged\n";
        assert!(in_yaml(&found).ends_with(expected), "{}", in_yaml(&found));
        assert!(in_yaml(&[]).ends_with("# Nothing is plugged in that can be used.\n"));
    }
}
