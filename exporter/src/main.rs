//! `hilt`.

use std::process::ExitCode;

use clap::Parser as _;
use exporter::cli::Cli;

fn main() -> anyhow::Result<ExitCode> {
    Cli::parse().run()
}
