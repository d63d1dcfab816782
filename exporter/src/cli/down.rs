//! `hilt down`: ends an exporter for good.

use std::process::ExitCode;

use clap::Args;

use super::running::Running;

/// End an exporter for good: its lease, its `down` hooks, its drivers.
#[derive(Debug, Args)]
pub(super) struct Down {
    /// The exporter's name, as in `hilt status`.
    name: String,
    #[command(flatten)]
    running: Running,
}

impl Down {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let client = self.running.find(&self.name)?;
        super::runtime()?.block_on(client.down())?;
        Ok(ExitCode::SUCCESS)
    }
}
