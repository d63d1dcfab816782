//! The client of the demo: `j`, as somebody would type it.

use std::env;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::Endpoint;

use super::story::Said;
use crate::wire::EndSessionRequest;
use crate::wire::exporter_service_client::ExporterServiceClient;

/// What is typed.
const COMMANDS: [&str; 3] = [
    "j power read",
    "printf 'version\\r' | j serial pipe --no-output 2>/dev/null",
    "j power cycle --wait 0",
];

/// Types commands and repeats what they print.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    heard: mpsc::Sender<Said>,
    /// Where `j` is.
    programs: TempDir,
}

impl Client {
    pub(super) fn new(address: SocketAddr, heard: mpsc::Sender<Said>) -> anyhow::Result<Self> {
        let programs = tempfile::tempdir().context("can't make a temporary directory")?;
        let client = Self { address, heard, programs };
        // Called under that name, this program is `j`.
        symlink(env::current_exe()?, client.j())?;
        Ok(client)
    }

    /// The `j` that it uses. It is there for as long as the client.
    pub(super) fn j(&self) -> PathBuf {
        self.programs.path().join("j")
    }

    /// Uses the bench.
    pub(super) async fn use_bench(&self) -> anyhow::Result<()> {
        for command in COMMANDS {
            self.say(format!("$ {command}")).await;
            let start = Instant::now();
            self.run(command).await?;
            self.say(format!("  took {:.1} ms", start.elapsed().as_secs_f64() * 1000.0)).await;
        }
        Ok(())
    }

    /// Ends the lease.
    pub(super) async fn end_session(&self) -> anyhow::Result<()> {
        self.say("EndSession".to_owned()).await;
        let channel = Endpoint::from_shared(format!("http://{}", self.address))?.connect().await?;
        ExporterServiceClient::new(channel).end_session(EndSessionRequest {}).await?;
        Ok(())
    }

    async fn run(&self, command: &str) -> anyhow::Result<()> {
        let path = env::var_os("PATH").unwrap_or_default();
        let programs = std::iter::once(self.programs.path().to_owned());
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .env("PATH", env::join_paths(programs.chain(env::split_paths(&path)))?)
            .env("JUMPSTARTER_HOST", self.address.to_string())
            .env("JMP_GRPC_INSECURE", "1")
            .kill_on_drop(true)
            .output()
            .await?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            self.say(format!("  {line}")).await;
        }
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`{command}` has failed: {}", errors.trim_end());
        }
        Ok(())
    }

    async fn say(&self, line: String) {
        // Nobody listens any more once the story is told.
        self.heard.send(Said::Client(line)).await.ok();
    }
}
