//! `hilt`, and `j` where it is called by that name.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use exporter::cli::Cli;
use exporter::j;
use hooks::leftovers::mark_descendants;

fn main() -> ExitCode {
    if is_called_j() {
        return j::main();
    }
    #[expect(unsafe_code, reason = "the mark has to be in the environment of every child")]
    // SAFETY: this is the only thread so far.
    unsafe {
        mark_descendants();
    }
    Cli::parse().run().unwrap_or_else(|error| {
        // There is nobody left to tell if stderr is closed.
        writeln!(io::stderr(), "hilt: {error:#}").ok();
        ExitCode::FAILURE
    })
}

/// Sessions put a link of this name to this program where their hooks find it.
fn is_called_j() -> bool {
    env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some("j".as_ref()))
}
