//! `hilt reload`: has configurations read again.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::running::Running;
use crate::control::Client;

/// Have exporters read their configuration again, with the mistakes of one that can't be used.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// The exporters' names, as in `hilt status`. Default: all that are running.
    names: Vec<String>,
    #[command(flatten)]
    running: Running,
}

impl Reload {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut clients = Vec::new();
        for name in &self.names {
            clients.push((name.clone(), self.running.find(name)?));
        }
        if self.names.is_empty() {
            for exporter in self.running.all()? {
                clients.push((exporter.exporter, Client::new(&exporter.dir)?));
            }
        }
        super::runtime()?.block_on(async {
            let mut code = ExitCode::SUCCESS;
            for (name, client) in clients {
                if let Err(error) = client.reload().await {
                    writeln!(
                        io::stderr(),
                        "hilt: {name} goes on with its old configuration:\n{error}"
                    )?;
                    code = ExitCode::FAILURE;
                }
            }
            Ok(code)
        })
    }
}
