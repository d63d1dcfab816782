//! The reference's client, as people use it: `jmp shell`, `j` and its Python library, and raw gRPC
//! for what those hide.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::{ChildStdin, Command};

use crate::bench::Bench;
use crate::process::{Ended, Output, Process};

/// A client of one exporter.
#[derive(Clone, Debug)]
pub(crate) struct Client<'b> {
    bench: &'b Bench,
    address: SocketAddr,
    passphrase: Option<&'static str>,
    /// The certificate to trust. Without one, the connection is plain text.
    certificate: Option<PathBuf>,
}

impl<'b> Client<'b> {
    pub(crate) const fn new(
        bench: &'b Bench,
        address: SocketAddr,
        passphrase: Option<&'static str>,
        certificate: Option<PathBuf>,
    ) -> Self {
        Self { bench, address, passphrase, certificate }
    }

    /// The address that it connects to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same client with another passphrase, or none.
    pub(crate) fn with_passphrase(&self, passphrase: Option<&'static str>) -> Self {
        Self { passphrase, ..self.clone() }
    }

    /// The same client without TLS.
    pub(crate) fn without_tls(&self) -> Self {
        Self { certificate: None, ..self.clone() }
    }

    /// Runs `jmp shell -- sh -c SCRIPT` to its end.
    pub(crate) async fn shell(&self, script: &str) -> Result<Ended> {
        self.start_shell(script)?.ends().await
    }

    /// Starts `jmp shell -- sh -c SCRIPT`.
    pub(crate) fn start_shell(&self, script: &str) -> Result<Process> {
        let mut command = self.bench.command(self.bench.prepared().reference.join("jmp"));
        command.arg("shell").arg("--tls-grpc").arg(self.address.to_string());
        match &self.certificate {
            Some(certificate) => command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", certificate),
            None => command.arg("--tls-grpc-insecure"),
        };
        if let Some(passphrase) = self.passphrase {
            command.args(["--passphrase", passphrase]);
        }
        command.args(["--", "sh", "-c", script]);
        self.bench.start(&format!("jmp shell -- {script}"), command)
    }

    /// Runs `j ARGUMENTS` to its end, in the environment that `jmp shell` gives its command.
    ///
    /// This spares the second that `jmp shell` takes, where the case is not about it.
    pub(crate) async fn j(&self, arguments: &[&str]) -> Result<Ended> {
        self.start_j(arguments)?.ends().await
    }

    /// Starts `j ARGUMENTS`.
    pub(crate) fn start_j(&self, arguments: &[&str]) -> Result<Process> {
        self.bench.start(&format!("j {}", arguments.join(" ")), self.j_command(arguments))
    }

    /// Starts `j ARGUMENTS` with a pipe to its input.
    pub(crate) fn start_j_with_input(&self, arguments: &[&str]) -> Result<(Process, ChildStdin)> {
        self.bench
            .start_with_input(&format!("j {}", arguments.join(" ")), self.j_command(arguments))
    }

    fn j_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside("j");
        command.args(arguments);
        command
    }

    /// Runs a Python script in the same environment. It has to succeed: what a case expects is
    /// asserted in the script, next to the calls, and a failed assertion is the case's failure.
    pub(crate) async fn python(&self, script: &str) -> Result<Output> {
        self.start_python(script)?.ends().await?.ok().context("the script")
    }

    /// Starts a Python script.
    pub(crate) fn start_python(&self, script: &str) -> Result<Process> {
        let mut command = self.inside("python");
        command.args(["-c", &format!("import leave\n{script}")]);
        self.bench.start("python", command)
    }

    /// Starts to print the exporter's status, one line for each version: `3 LEASE_READY after
    /// BEFORE_LEASE_HOOK: Ready for commands`. Ends when the exporter is gone.
    pub(crate) fn start_statuses(&self) -> Result<Process> {
        self.start_module("the statuses", "statuses")
    }

    /// Starts to print the exporter's log as it is streamed: `BEFORE_LEASE_HOOK INFO the line`.
    /// Ends when the exporter is gone.
    pub(crate) fn start_logs(&self) -> Result<Process> {
        self.start_module("the log stream", "logs")
    }

    fn start_module(&self, title: &str, module: &str) -> Result<Process> {
        let mut command = self.inside("python");
        command.args(["-m", module]);
        self.bench.start(title, command)
    }

    /// Runs Hilt's own `j ARGUMENTS` to its end: many cases of a bench are about devices and not
    /// about the client.
    pub(crate) async fn own_j(&self, arguments: &[&str]) -> Result<Ended> {
        self.start_own_j(arguments)?.ends().await
    }

    /// Starts Hilt's own `j ARGUMENTS`.
    pub(crate) fn start_own_j(&self, arguments: &[&str]) -> Result<Process> {
        self.bench.start(&format!("j {}", arguments.join(" ")), self.own_j_command(arguments))
    }

    /// Starts Hilt's own `j ARGUMENTS` with a pipe to its input.
    pub(crate) fn start_own_j_with_input(
        &self,
        arguments: &[&str],
    ) -> Result<(Process, ChildStdin)> {
        self.bench
            .start_with_input(&format!("j {}", arguments.join(" ")), self.own_j_command(arguments))
    }

    fn own_j_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.enter(&self.bench.prepared().built.join("j"));
        command.args(arguments);
        command
    }

    /// A command in the environment that `jmp shell` gives its command.
    fn inside(&self, program: &str) -> Command {
        self.enter(&self.bench.prepared().reference.join(program))
    }

    fn enter(&self, program: &Path) -> Command {
        let mut command = self.bench.command(program);
        command
            .env("JUMPSTARTER_HOST", self.address.to_string())
            .env("JMP_DRIVERS_ALLOW", "UNSAFE");
        command.env("_JMP_SUPPRESS_DRIVER_WARNINGS", "1");
        match &self.certificate {
            Some(certificate) => command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", certificate),
            None => command.env("JMP_GRPC_INSECURE", "1"),
        };
        if let Some(passphrase) = self.passphrase {
            command.env("JMP_GRPC_PASSPHRASE", passphrase);
        }
        command
    }
}
