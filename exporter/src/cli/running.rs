//! Which running exporter a command is about.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::control::{Client, ControlError};
use crate::state::{ExporterDir, StateDir};

/// Where running exporters are found.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// The directory that exporters keep their state in, if not the usual one.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Running {
    /// All of them, by name.
    pub(super) fn all(&self) -> anyhow::Result<Vec<ExporterDir>> {
        let state = StateDir::of(self.state_dir.as_deref());
        let read = || format!("can't look for exporters in {}", state.path().display());
        let mut exporters = state.exporters().with_context(read)?;
        exporters.retain(|exporter| Client::is_answered(&exporter.dir));
        Ok(exporters)
    }

    /// The one of this name.
    pub(super) fn find(&self, name: &str) -> anyhow::Result<Client> {
        let dir = StateDir::of(self.state_dir.as_deref()).of_exporter(name);
        match Client::new(&dir) {
            Err(ControlError::NotRunning(_)) => {}
            client => return Ok(client?),
        }
        let names: Vec<_> = self.all()?.into_iter().map(|exporter| exporter.exporter).collect();
        if names.is_empty() {
            bail!("the exporter '{name}' is not running, nor is any other");
        }
        bail!("the exporter '{name}' is not running; these are: {}", names.join(", "));
    }
}
