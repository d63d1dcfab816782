//! The command line, also that of the processes which the benchmark starts from its own program.

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use super::bare::Serve;
use super::lines::PrintLines;
use super::measurements::{ALL, Measurement};
use super::transfer::SwitchPort;

/// Measures Hilt beside the reference exporter and the limit of the machine.
#[derive(Debug, Parser)]
#[command(name = "hil-tests/bench", args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// What to measure; everything if nothing is named.
    names: Vec<String>,
    /// Take fewer rounds.
    #[arg(long)]
    pub(super) quick: bool,
    #[command(subcommand)]
    pub(super) part: Option<Part>,
}

/// The parts that the program plays in a measurement.
#[derive(Debug, Subcommand)]
pub(super) enum Part {
    #[command(hide = true)]
    Run(Serve),
    #[command(hide = true)]
    PrintLines(PrintLines),
    #[command(hide = true)]
    SwitchPort(SwitchPort),
}

impl Arguments {
    /// The measurements that are asked for.
    pub(super) fn chosen(&self) -> Result<Vec<&'static Measurement>> {
        for name in &self.names {
            let known: Vec<_> = ALL.iter().map(|measurement| measurement.name).collect();
            ensure!(
                known.contains(&name.as_str()),
                "'{name}' is not measured; what is: {}",
                known.join(", ")
            );
        }
        let asked = |measurement: &&Measurement| {
            self.names.is_empty() || self.names.iter().any(|name| name == measurement.name)
        };
        Ok(ALL.iter().filter(asked).collect())
    }

    /// Whether everything is asked for, and in full.
    pub(super) const fn is_whole(&self) -> bool {
        self.names.is_empty() && !self.quick
    }
}
