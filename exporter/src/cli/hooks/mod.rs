//! `hilt hooks`: what hooks have done, what they have printed, and what they would do.

mod history;
mod logs;
mod show;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{error, io};

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::state::{ExporterDir, StateDir};

/// See what hooks have done, or try them.
#[derive(Debug, Args)]
pub(super) struct Hooks {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    History(history::History),
    Logs(logs::Logs),
    Show(show::Show),
    Test(test::Test),
}

impl Hooks {
    /// Whether it prints what the exporter has to say, so that nobody else should.
    pub(super) fn speaks_for_the_exporter(&self) -> bool {
        matches!(self.command, Command::Test(_))
    }

    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let done = match self.command {
            Command::History(history) => history.run(),
            Command::Logs(logs) => logs.run(),
            Command::Show(show) => show.run(),
            Command::Test(test) => return test.run(),
        };
        match done {
            Ok(()) => Ok(ExitCode::SUCCESS),
            // Whoever reads has seen enough, as `head` does.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error),
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().map(io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// Whose records to look at.
#[derive(Debug, Args)]
struct Whose {
    /// Only those of this exporter.
    #[arg(long, value_name = "NAME")]
    exporter: Option<String>,
    /// Where exporters keep them.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Whose {
    /// The parts of the state directory to look at.
    ///
    /// # Errors
    ///
    /// If there is none of the wanted exporter, and if they can't be listed.
    fn exporters(&self) -> anyhow::Result<Vec<ExporterDir>> {
        let state = StateDir::of(self.state_dir.as_deref());
        let place = state.path().display();
        let all = match state.exporters() {
            Ok(all) => all,
            Err(error) => bail!("{place}: {error}; run as the user that the exporter runs as"),
        };
        let Some(name) = &self.exporter else { return Ok(all) };
        let names: Vec<_> = all.iter().map(|one| one.exporter.clone()).collect();
        let found: Vec<_> = all.into_iter().filter(|one| one.exporter == *name).collect();
        if found.is_empty() {
            let known =
                if names.is_empty() { "none".into() } else { format!("only {}", names.join(", ")) };
            bail!("no exporter '{name}' has kept anything in {place}; {known} has");
        }
        Ok(found)
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}
