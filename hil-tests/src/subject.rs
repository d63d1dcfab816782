//! The exporters that can be tried, and how one is started.

use std::env;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use indoc::formatdoc;
use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::bench::{Bench, POLL};
use crate::client::Client;
use crate::process::{Ended, Process, patiently};

/// An exporter under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `jmp run` of the reference.
    Python,
    /// `hilt run`.
    Hilt,
    /// The benchmark's own server with nothing behind it: no exporter can be faster. No case is
    /// tried on it.
    Bare,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "python",
            Self::Hilt => "hilt",
            Self::Bare => "bare",
        })
    }
}

/// The subjects that `EXPORTER_UNDER_TEST` asks for.
pub(crate) fn under_test() -> Result<Vec<Subject>> {
    match env::var("EXPORTER_UNDER_TEST").as_deref() {
        Err(env::VarError::NotPresent) | Ok("both") => Ok(vec![Subject::Python, Subject::Hilt]),
        Ok("python") => Ok(vec![Subject::Python]),
        Ok("hilt") => Ok(vec![Subject::Hilt]),
        other => bail!("EXPORTER_UNDER_TEST is {other:?}; it has to be python, hilt or both"),
    }
}

/// Starts `SUBJECT run ARGUMENTS`, for cases about the command line itself.
pub(crate) fn run(bench: &Bench, arguments: &[&str]) -> Result<Process> {
    let mut command = command(bench)?;
    command.args(arguments);
    bench.start(&format!("{} run {}", bench.subject(), arguments.join(" ")), command)
}

/// Where its program is.
pub(crate) fn program(bench: &Bench) -> Result<PathBuf> {
    let program = match bench.subject() {
        Subject::Python => bench.prepared().reference.join("jmp"),
        Subject::Hilt => bench.prepared().built.join("hilt"),
        // The benchmark serves if it is called as an exporter is.
        Subject::Bare => env::current_exe().context("finding this program")?,
    };
    ensure!(
        program.is_file(),
        "{} is missing: run hil-tests/run, which builds it",
        program.display()
    );
    Ok(program)
}

fn command(bench: &Bench) -> Result<Command> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut command = bench.command(program(bench)?);
    // Each is a first start: none goes on where another was stopped.
    let state = format!("state-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    command.env("STATE_DIRECTORY", bench.path(&state));
    // What a hook may not inherit as it is.
    command.arg("run").envs([("PS1", "$ "), ("TERM", "xterm-256color")]);
    Ok(command)
}

/// A complete exporter configuration: `body` is everything but the head.
pub(crate) fn config(body: &str) -> String {
    config_of("bench", body)
}

/// The same of an exporter with this name.
pub(crate) fn config_of(name: &str, body: &str) -> String {
    let head = formatdoc! {"
        apiVersion: jumpstarter.dev/v1alpha1
        kind: ExporterConfig
        metadata: {{namespace: default, name: {name}}}
    "};
    format!("{head}{body}")
}

/// A TCP port of the loopback interface that nobody listens on. Below the range from which the
/// kernel picks ports for outgoing connections, so that no client takes it before the exporter
/// does.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    // Runners at work at the same time start at different places.
    let start = u16::try_from(id() % u32::from(COUNT)).context("a remainder is smaller")?;
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port from {FIRST} on is taken")
}

/// How a running exporter is to be started; see [`Exporter::with`].
#[derive(Debug)]
pub(crate) struct Start<'b> {
    bench: &'b Bench,
    config: String,
    passphrase: Option<&'static str>,
    certificate: Option<Certificate>,
    state: Option<PathBuf>,
    heard: bool,
    testbed: Option<(PathBuf, PathBuf)>,
}

/// A self-signed certificate and its key, as files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl<'b> Start<'b> {
    /// Asks clients for a passphrase.
    pub(crate) const fn passphrase(mut self, passphrase: &'static str) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Serves TLS instead of plain text.
    pub(crate) fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Goes on in this state directory. Only Hilt has any.
    pub(crate) fn state(mut self, directory: PathBuf) -> Self {
        self.state = Some(directory);
        self
    }

    /// Shows it the devices of a test bed of umockdev instead of the host's.
    pub(crate) fn seeing(mut self, preload: &Path, testbed: &Path) -> Self {
        self.testbed = Some((preload.to_owned(), testbed.to_owned()));
        self
    }

    /// Lets it print without anybody listening, which would take time from it.
    pub(crate) const fn unheard(mut self) -> Self {
        self.heard = false;
        self
    }

    /// Starts it, and returns as soon as it accepts connections, which may be while its beforeLease
    /// hook runs.
    pub(crate) async fn start(self) -> Result<Exporter<'b>> {
        let mut exporter = self.launch()?;
        let accepts = accepts(exporter.address(), &mut exporter.process);
        patiently("the exporter to accept connections", accepts).await??;
        Ok(exporter)
    }

    /// Starts it, and does not wait for anything.
    pub(crate) fn launch(self) -> Result<Exporter<'b>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        // Each has a file of its own: one that changes may be read again.
        let config = format!("exporter-{}.yaml", address.port());
        let config = self.bench.write(&config, &self.config)?;
        let mut command = command(self.bench)?;
        if let Some(state) = &self.state {
            command.env("STATE_DIRECTORY", state);
        }
        if let Some((preload, testbed)) = &self.testbed {
            command.env("LD_PRELOAD", preload).env("UMOCKDEV_DIR", testbed);
        }
        command
            .arg("--exporter-config")
            .arg(config)
            .arg("--tls-grpc-listener")
            .arg(address.to_string());
        match &self.certificate {
            Some(tls) => {
                command.arg("--tls-cert").arg(&tls.certificate).arg("--tls-key").arg(&tls.key)
            }
            None => command.arg("--tls-grpc-insecure"),
        };
        if let Some(passphrase) = self.passphrase {
            command.args(["--passphrase", passphrase]);
        }
        let title = format!("the exporter ({})", self.bench.subject());
        let process = if self.heard {
            self.bench.start(&title, command)?
        } else {
            Process::start_unheard(&title, command)?
        };
        let client = Client::new(
            self.bench,
            address,
            self.passphrase,
            self.certificate.map(|tls| tls.certificate),
        );
        Ok(Exporter { process, client })
    }
}

/// Waits until somebody accepts connections at `address`, or the process that should has ended.
async fn accepts(address: SocketAddr, process: &mut Process) -> Result<()> {
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = process.ended()? {
            bail!("the exporter ended with {status} before it accepted connections");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// A running exporter under test.
#[derive(Debug)]
pub(crate) struct Exporter<'b> {
    process: Process,
    client: Client<'b>,
}

impl<'b> Exporter<'b> {
    /// Starts an exporter without TLS and passphrase; `body` is its configuration without the head.
    pub(crate) async fn start(bench: &'b Bench, body: &str) -> Result<Self> {
        Self::with(bench, body).start().await
    }

    /// The same with more to say about it.
    pub(crate) fn with(bench: &'b Bench, body: &str) -> Start<'b> {
        Start {
            bench,
            config: config(body),
            passphrase: None,
            certificate: None,
            state: None,
            heard: true,
            testbed: None,
        }
    }

    /// Where it listens, or will.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// The client that knows where it listens and how to be let in.
    pub(crate) const fn client(&self) -> &Client<'b> {
        &self.client
    }

    /// Waits until it says that its lease is ready.
    pub(crate) async fn is_ready(&mut self) -> Result<()> {
        self.process.prints("LEASE_READY: ").await
    }

    /// Sends a signal to its main process, as a service manager would.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits for its end.
    pub(crate) async fn ends(self) -> Result<Ended> {
        self.process.ends().await.context("the exporter")
    }
}
