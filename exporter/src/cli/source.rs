//! Which configuration a command is about.

use std::path::PathBuf;

use clap::Args;

use crate::config::discover::Places;
use crate::config::{Config, Environment, load_to_run};

/// A configuration, by its file or by its alias.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Source {
    /// The exporter's alias: the name of its file under exporters/, without .yaml.
    #[arg(long, value_name = "NAME")]
    exporter: Option<String>,
    /// The exporter's configuration file.
    #[arg(long, value_name = "FILE")]
    exporter_config: Option<PathBuf>,
}

impl Source {
    /// Reads the configuration, and says from where. What is probably wrong with it is logged.
    ///
    /// # Errors
    ///
    /// Every mistake, one a line.
    pub(super) fn load(&self) -> anyhow::Result<(Config, PathBuf)> {
        let environment = Environment::of_process();
        let file = match (&self.exporter, &self.exporter_config) {
            (Some(alias), _) => Places::of(&environment).find(alias)?,
            (None, file) => file.clone().unwrap_or_default(),
        };
        let loaded = load_to_run(&file, &environment)?;
        for warning in loaded.warnings.to_string().lines() {
            tracing::warn!("{warning}");
        }
        Ok((loaded.config, file))
    }
}
