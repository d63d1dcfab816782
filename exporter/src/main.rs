//! `hilt`, and `j` where it is called by that name.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use exporter::cli::Cli;
use exporter::j;

fn main() -> anyhow::Result<ExitCode> {
    if is_called_j() {
        return Ok(j::main());
    }
    Cli::parse().run()
}

/// Sessions put a link of this name to this program where their hooks find it.
fn is_called_j() -> bool {
    env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some("j".as_ref()))
}
