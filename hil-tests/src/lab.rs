//! A lab under test: `hilt run --lab`, with clients that `hilt lab client add` has let in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::bench::{Bench, POLL};
use crate::process::{Ended, Output, Process, patiently};
use crate::subject::{config, free_port, program};

/// A running lab with one exporter, `bench`.
#[derive(Debug)]
pub(crate) struct Lab<'b> {
    bench: &'b Bench,
    process: Process,
    address: SocketAddr,
}

impl<'b> Lab<'b> {
    /// Starts a lab; `body` is the exporter's configuration without the head.
    pub(crate) async fn start(bench: &'b Bench, body: &str) -> Result<Self> {
        bench.write("exporter.yaml", config(body))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        Self::start_at(bench, address).await
    }

    /// Kills it and starts it again.
    pub(crate) async fn crash_and_restart(self) -> Result<Self> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.ends().await?;
        Self::start_at(self.bench, self.address).await
    }

    async fn start_at(bench: &'b Bench, address: SocketAddr) -> Result<Self> {
        let mut command = bench.command(program(bench)?);
        command.arg("run").arg("--exporter-config").arg(bench.path("exporter.yaml"));
        command.arg("--lab").arg(address.to_string()).arg("--state-dir").arg(state(bench));
        let process = bench.start("the lab", command)?;
        let accepts = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the lab to accept connections", accepts).await?;
        Ok(Self { bench, process, address })
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs `hilt lab ARGUMENTS` to its end.
    pub(crate) async fn hilt(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = self.bench.command(program(self.bench)?);
        command.arg("lab").args(arguments).arg("--state-dir").arg(state(self.bench));
        self.bench.start(&format!("hilt lab {}", arguments.join(" ")), command)?.ends().await
    }

    /// Lets a client in.
    pub(crate) async fn add(&self, client: &str) -> Result<()> {
        self.hilt(&["client", "add", client]).await?.ok().map(drop)
    }

    /// Starts `jmp COMMAND --client CLIENT ARGUMENTS`; the command may have two words.
    pub(crate) fn start_jmp(
        &self,
        client: &str,
        command: &str,
        arguments: &[&str],
    ) -> Result<Process> {
        self.start_in(&self.bench.prepared().reference, client, command, arguments)
    }

    /// Runs the `jmp` of the oldest client that is supported to its end, which has to be a good one.
    pub(crate) async fn oldest_jmp(
        &self,
        client: &str,
        command: &str,
        arguments: &[&str],
    ) -> Result<Output> {
        let programs = &self.bench.prepared().oldest;
        self.start_in(programs, client, command, arguments)?.ends().await?.ok()
    }

    fn start_in(
        &self,
        programs: &Path,
        client: &str,
        command: &str,
        arguments: &[&str],
    ) -> Result<Process> {
        let mut jmp = self.bench.command(programs.join("jmp"));
        // What it starts is of the same version.
        jmp.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
        jmp.args(command.split(' ')).args(["--client", client]).args(arguments);
        self.bench.start(&format!("jmp {command} of {client}"), jmp)
    }

    /// Runs it to its end, which has to be a good one.
    pub(crate) async fn jmp(
        &self,
        client: &str,
        command: &str,
        arguments: &[&str],
    ) -> Result<Output> {
        self.start_jmp(client, command, arguments)?.ends().await?.ok()
    }

    /// The reason of the last condition of a lease.
    pub(crate) async fn reason(&self, client: &str, lease: &str) -> Result<String> {
        let all = self.jmp(client, "get leases", &["--all", "-A", "-o", "json"]).await?;
        let list: serde_json::Value = serde_json::from_str(&all.stdout())?;
        let leases = list["leases"].as_array().cloned().unwrap_or_default();
        let found = leases.iter().find(|found| found["name"] == lease);
        ensure!(found.is_some(), "no lease {lease} in {list}");
        let conditions = found.and_then(|found| found["conditions"].as_array());
        let reason = conditions.and_then(|all| all.last()).map(|last| last["reason"].clone());
        Ok(reason.and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default())
    }

    /// Waits until that is this one.
    pub(crate) async fn waits_for(&self, client: &str, lease: &str, wanted: &str) -> Result<()> {
        let poll = async {
            loop {
                if self.reason(client, lease).await? == wanted {
                    return Ok(());
                }
            }
        };
        patiently(&format!("{lease} to be {wanted}"), poll).await?
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.ends().await?.ok().map(drop)
    }
}

/// A restarted lab goes on here.
fn state(bench: &Bench) -> PathBuf {
    bench.path("state")
}
