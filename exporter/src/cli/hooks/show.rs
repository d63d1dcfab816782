//! `hilt hooks show`: one run, with all that it has printed.

use std::io::{self, Write};

use anyhow::bail;
use clap::Args;

use super::history::local;
use super::{Format, Whose};
use crate::store::{Found, Histories, Output, Run, Subject};
use crate::web::Execution;

/// Show a run of a hook, with its output.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run's id, or as much of its beginning as is unique.
    run: String,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    whose: Whose,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let histories = Histories::open(&self.whose.exporters()?)?;
        let found = histories.find(&self.run)?;
        let [found] = &found[..] else {
            match found.first() {
                None => bail!("no run '{}'; see hilt hooks history", self.run),
                Some(_) => bail!("several runs begin with '{}'; type more of the id", self.run),
            }
        };
        let output = histories.output(found)?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => print(found, output, &mut out)?,
            Format::Json => {
                let execution = Execution::new(found, output);
                serde_json::to_writer_pretty(&mut out, &execution).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(out.flush()?)
    }
}

fn print(found: &Found, output: Output, out: &mut impl Write) -> io::Result<()> {
    let Run { begun, lease_name, .. } = &found.run;
    let subject = match &begun.subject {
        Subject::Lease { name } => format!("lease {name}"),
        Subject::Exporter { name } => format!("exporter {name}"),
        Subject::Driver { path, version: None, .. } => format!("driver {path}"),
        Subject::Driver { path, version: Some(version), .. } => format!("driver {path} {version}"),
    };
    for (name, value) in [
        ("run", begun.id.to_string()),
        ("event", begun.event.word().into()),
        ("of", subject),
        ("lease", lease_name.clone().unwrap_or_else(|| "-".into())),
        ("exporter", found.exporter.clone()),
        ("started", format!("{} ({})", local(begun.started), begun.started)),
        ("took", took(&found.run)),
        ("status", ending(&found.run)),
    ] {
        writeln!(out, "{name:<10}{value}")?;
    }
    let text = output.into_text();
    if !text.is_empty() {
        write!(out, "\n{text}")?;
        if !text.ends_with('\n') {
            writeln!(out)?;
        }
    }
    Ok(())
}

/// How long a run took, if anybody knows.
pub(super) fn took(run: &Run) -> String {
    match run.ended.as_ref().and_then(|ended| ended.duration) {
        Some(duration) => format!("{:.1} s", duration.as_secs_f64()),
        None => "-".into(),
    }
}

/// How a run ended.
pub(super) fn ending(run: &Run) -> String {
    let Some(ended) = &run.ended else { return "not over".into() };
    let code = ended.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
    let signal = ended.signal.map(|signal| format!("signal {signal}"));
    let details: Vec<_> = [code, signal, ended.detail.clone()].into_iter().flatten().collect();
    let status = ended.status.word();
    if details.is_empty() { status.into() } else { format!("{status} ({})", details.join(", ")) }
}
