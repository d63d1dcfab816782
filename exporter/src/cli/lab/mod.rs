//! `hilt lab`: the clients and the leases of this host's lab.

mod client;
mod leases;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::lab::directory::{Directory, DirectoryError};
use crate::state::StateDir;

/// Say who may lease the exporters that `hilt run --lab` serves, and see who does.
#[derive(Debug, Args)]
pub(super) struct Lab {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add, list and remove clients.
    #[command(subcommand)]
    Client(client::Client),
    Leases(leases::Leases),
}

impl Lab {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Client(client) => client.run(),
            Command::Leases(leases) => leases.run(),
        }
    }
}

/// Which lab a command is about.
#[derive(Debug, Args)]
struct Which {
    /// The state directory that `hilt run --lab` has, if not the usual one.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Which {
    fn open(&self) -> Result<Directory, DirectoryError> {
        Directory::open(StateDir::of(self.state_dir.as_deref()).path())
    }
}
