//! A power switch that a program of the exporter's host knows how to use.
//!
//! The program is called with `on`, `off` or `status` after its own arguments, and ends with 0 if
//! that worked. For `status` it prints `on`, `off` or `partial`.

use futures_util::TryStreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::switch::{AtOpen, Position, ReadBack, State, Switch};
use crate::registry::Build;
use crate::shell::{End, Runs, Script, Seconds};
use crate::{DriverError, Result};

/// `hilt.power.External`.
#[derive(Debug)]
pub struct External {
    config: Config,
    runs: Runs,
}

/// The `config:` block of a program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The program and its own arguments.
    command: Vec<String>,
    /// Whether the program knows `status`.
    #[serde(default)]
    status: bool,
    /// How long the program may run, in seconds.
    #[serde(default = "patience")]
    timeout: Seconds,
    #[serde(default)]
    default: AtOpen,
}

fn patience() -> Seconds {
    Seconds::from(30)
}

impl Build for External {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        if config.command.is_empty() {
            return Err(DriverError::InvalidArgument("command: there is no program in it".into()));
        }
        Ok(Self { config, runs: Runs::default() })
    }
}

impl Switch for External {
    async fn set(&self, position: Position) -> Result<()> {
        self.run(&position.to_string()).await.map(drop)
    }

    fn read_back(&self) -> ReadBack {
        if self.config.status { ReadBack::Device } else { ReadBack::None }
    }

    async fn state(&self) -> Result<State> {
        let output = self.run("status").await?;
        match output.trim() {
            "on" => Ok(State::On),
            "off" => Ok(State::Off),
            "partial" => Ok(State::Partial),
            other => Err(DriverError::Device(format!(
                "{} status: it printed '{other}', which is none of on, off and partial",
                self.program()
            ))),
        }
    }

    fn at_open(&self) -> AtOpen {
        self.config.default
    }

    /// Ends whatever the program has left running.
    async fn close(&self) {
        self.runs.end().await;
    }
}

impl External {
    /// Runs the program to its end; returns its standard output.
    async fn run(&self, verb: &str) -> Result<String> {
        let mut argv = self.config.command.clone();
        argv.push(verb.to_owned());
        let what = format!("{} {verb}", self.program());
        let timeout = self.config.timeout.clone();
        let script = Script { method: what.clone(), argv, env: vec![], cwd: None, timeout };
        let started = self.runs.start(script)?;
        let (mut output, mut complaints) = (String::new(), String::new());
        let items: Vec<Value> = started.items.try_collect().await?;
        for item in &items {
            output.push_str(item[0].as_str().unwrap_or_default());
            complaints.push_str(item[1].as_str().unwrap_or_default());
        }
        for line in complaints.lines() {
            tracing::warn!("{what}: {line}");
        }
        let end = started.end.await;
        match end.map_err(|_| DriverError::Device(format!("{what}: the driver panicked")))? {
            End::Done(0) => Ok(output),
            End::Done(code) => Err(DriverError::Device(format!(
                "{what}: it ended with {code}: {}",
                complaints.trim().lines().last().unwrap_or("without a word")
            ))),
            End::TimedOut => Err(DriverError::Timeout(format!(
                "{what}: it did not end within {} s",
                self.config.timeout
            ))),
            End::Abandoned | End::Stopped => {
                Err(DriverError::Disconnected(format!("{what}: it was stopped")))
            }
        }
    }

    fn program(&self) -> &str {
        &self.config.command[0]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::parse;
    use crate::testing::process::{lives, noted, pass};

    /// A program that keeps its position in a file. It is read by a shell: the kernel does not run a
    /// file that somebody may still write to, and a process that another test is starting just now may.
    fn power(script: &str, settings: Value) -> (TempDir, Switched<External>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("pdu");
        fs::write(&program, format!("cd {}\n{script}", folder.path().display())).unwrap();
        let mut config = json!({"command": ["sh", program, "--outlet", "3"]});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        (folder, Switched::new(External::build(parse(config).unwrap()).unwrap()))
    }

    const RELAY: &str = r#"[ "$1$2" = --outlet3 ] || exit 2
        case $3 in status) cat state ;; *) echo "$3" > state ;; esac"#;

    #[tokio::test]
    async fn a_program_switches_and_tells() {
        let (folder, power) = power(RELAY, json!({"status": true}));
        power.on().await.unwrap();
        assert_eq!(power.status().await.unwrap(), State::On);
        power.off().await.unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("state")).unwrap(), "off\n");
        power.close().await;
    }

    #[tokio::test]
    async fn a_failure_is_in_the_words_of_the_program() {
        let (_folder, power) = power("echo dialling; echo no carrier >&2; exit 3", json!({}));
        let error = power.on().await.unwrap_err().to_string();
        assert!(error.ends_with("sh on: it ended with 3: no carrier"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let (folder, power) = power("sleep 1000 & echo $! > child; wait", json!({}));
        let hang = async {
            let child = noted(&folder.path().join("child")).await;
            pass(Duration::from_secs(31)).await;
            child
        };
        let (result, child) = tokio::join!(power.on(), hang);
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "sh on: it did not end within 30 s");
        assert!(!lives(child), "it is gone before the caller is told");
    }

    #[tokio::test]
    async fn a_status_that_makes_no_sense_is_an_error() {
        let (_folder, power) = power("echo maybe", json!({"status": true}));
        let error = power.status().await.unwrap_err().to_string();
        assert!(error.ends_with("'maybe', which is none of on, off and partial"), "{error}");
    }

    #[test]
    fn there_has_to_be_a_program() {
        let config = parse(json!({"command": []})).unwrap();
        assert_eq!(
            External::build(config).unwrap_err().to_string(),
            "command: there is no program in it"
        );
    }
}
