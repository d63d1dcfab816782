//! Which configuration a command is about.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use crate::app::Member;
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
        read(file, &environment)
    }
}

/// Any number of configurations, by their files, by their aliases, or all there are.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Sources {
    /// An exporter's alias: the name of its file under exporters/, without .yaml. Repeatable.
    #[arg(long, value_name = "NAME", conflicts_with = "exporter_config")]
    exporter: Vec<String>,
    /// An exporter's configuration file. Repeatable.
    #[arg(long, value_name = "FILE")]
    exporter_config: Vec<PathBuf>,
    /// Every configuration under exporters/.
    #[arg(long, conflicts_with_all = ["exporter", "exporter_config"])]
    all: bool,
}

impl Sources {
    /// Reads the configurations. What is probably wrong with them is logged; what can't be used is the
    /// failure of one exporter.
    ///
    /// # Errors
    ///
    /// There is none, or an alias that can't be one.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Member>> {
        let environment = Environment::of_process();
        let places = Places::of(&environment);
        let mut files = self.exporter_config.clone();
        for alias in &self.exporter {
            files.push(places.find(alias)?);
        }
        if self.all {
            files.extend(places.list()?.into_values());
        }
        let (user, system) = (places.user.display(), places.system.display());
        ensure!(!files.is_empty(), "there is no configuration in {user} or {system}");
        let member = |file: PathBuf| {
            let config = read(file.clone(), &environment).map(|(config, _)| config);
            Member { file, config }
        };
        Ok(files.into_iter().map(member).collect())
    }
}

fn read(file: PathBuf, environment: &Environment) -> anyhow::Result<(Config, PathBuf)> {
    let loaded = load_to_run(&file, environment)?;
    for warning in loaded.warnings.to_string().lines() {
        tracing::warn!("{warning}");
    }
    Ok((loaded.config, file))
}
