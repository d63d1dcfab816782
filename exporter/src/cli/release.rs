//! `hilt release`: takes a bench back into service that is in quarantine.

use std::process::ExitCode;

use clap::Args;

use super::running::Running;

/// Take a bench back into service that is in quarantine.
#[derive(Debug, Args)]
pub(super) struct Release {
    /// The exporter's name, as in `hilt status`.
    name: String,
    #[command(flatten)]
    running: Running,
}

impl Release {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.running.find(&self.name)?;
        super::runtime()?.block_on(client.release())?;
        Ok(ExitCode::SUCCESS)
    }
}
