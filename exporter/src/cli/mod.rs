//! The `hilt` command: one file a subcommand.

mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A hardware exporter that speaks the Jumpstarter protocol.
#[derive(Debug, Parser)]
#[command(name = "hilt", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    ///
    /// What kept it from being done, for the terminal.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Check(check) => check.run(),
        }
    }
}
