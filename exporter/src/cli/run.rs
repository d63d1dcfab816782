//! `hilt run`: serves a bench.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bind::Bind;
use super::run_lab::LabOptions;
use super::source::Sources;
use crate::app::{Controlled, InLab, Setup, Standalone, State};
use crate::config::Config;
use crate::secret::Secret;
use crate::service_manager;
use crate::session::listener::Listener;
use crate::shutdown::{OnHangup, Shutdown, Signals};
use crate::state::{ExporterDir, StateDir};
use crate::{tls, web};

/// Serve a bench to clients, with its hooks around every lease.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("security").args(["tls_grpc_insecure", "tls_cert"]))]
pub(super) struct Run {
    #[command(flatten)]
    sources: Sources,
    /// Serve clients on this address, without a controller. Default: leases come from the controller at
    /// `endpoint:`.
    #[arg(long, value_name = "[HOST:]PORT", requires = "security")]
    tls_grpc_listener: Option<Bind>,
    /// Serve without TLS.
    #[arg(long, requires = "tls_grpc_listener", conflicts_with = "tls_key")]
    tls_grpc_insecure: bool,
    /// The certificate to serve with, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls_grpc_listener", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls_grpc_listener", "tls_cert"])]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    lab: LabOptions,
    /// Ask clients for this passphrase.
    #[arg(long, value_name = "TEXT", requires = "tls_grpc_listener")]
    passphrase: Option<Secret>,
    /// Stop after the first lease.
    #[arg(long)]
    exit_on_lease_end: bool,
    /// Where to keep what must survive a restart [default: $STATE_DIRECTORY, /var/lib/hilt for root,
    /// else hilt in $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Serve the history of hooks over HTTP on this address; without a host, to this machine alone.
    #[arg(long, value_name = "[HOST:]PORT")]
    web: Option<Bind>,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut configs = self.sources.load()?;
        if let Some(bind) = self.lab.bind() {
            return self.run_lab(bind, configs);
        }
        let Some((config, file)) = configs.pop().filter(|_| configs.is_empty()) else {
            bail!("several exporters in one process need --lab; else start one process for each");
        };
        if self.tls_grpc_insecure && self.passphrase.is_some() {
            tracing::warn!("without TLS, the passphrase will be transmitted in plaintext");
        }
        raise_file_limit();
        let shutdown = Shutdown::default();
        let exit_on_lease_end = self.exit_on_lease_end;
        let directory = StateDir::of(self.state_dir.as_deref()).exporter(&config.metadata.name);
        let state = Some(State::open(directory.dir.clone())?);
        let setup = Setup { config, file, exit_on_lease_end, state };
        super::runtime()?.block_on(async {
            let signals = Signals::new(OnHangup::Reload).context("can't listen to signals")?;
            let run = self.serve(setup, &shutdown).await?;
            let web = self.listen_for_web().await?;
            service_manager::ready();
            tokio::select! {
                code = run => Ok(ExitCode::from(code?)),
                failed = serve_web(web, vec![directory]) => match failed? {},
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }

    /// Builds the exporter that was asked for; what is returned runs it.
    async fn serve<'a>(
        &'a self,
        setup: Setup,
        shutdown: &'a Shutdown,
    ) -> anyhow::Result<BoxFuture<'a, anyhow::Result<u8>>> {
        Ok(match &self.tls_grpc_listener {
            Some(bind) => {
                let exporter = Standalone::new(setup, shutdown)?;
                let listener = self.listen(bind).await?;
                exporter.run(listener, self.passphrase.clone(), shutdown).boxed()
            }
            None => Controlled::new(setup, shutdown)?.run(shutdown).boxed(),
        })
    }

    fn run_lab(&self, bind: &Bind, configs: Vec<(Config, PathBuf)>) -> anyhow::Result<ExitCode> {
        raise_file_limit();
        let shutdown = Shutdown::default();
        let state_dir = StateDir::of(self.state_dir.as_deref());
        let (mut exporters, mut directories) = (Vec::new(), Vec::new());
        for (config, file) in configs {
            let directory = state_dir.exporter(&config.metadata.name);
            let state = Some(State::open(directory.dir.clone())?);
            let exit_on_lease_end = self.exit_on_lease_end;
            let setup = Setup { config, file, exit_on_lease_end, state };
            exporters.push(InLab::new(setup, &shutdown)?);
            directories.push(directory);
        }
        super::runtime()?.block_on(async {
            let signals = Signals::new(OnHangup::Reload).context("can't listen to signals")?;
            let web = self.listen_for_web().await?;
            let serve = self.lab.serve(bind, state_dir.path(), exporters, &shutdown);
            tokio::select! {
                code = serve => Ok(ExitCode::from(code?)),
                failed = serve_web(web, directories) => match failed? {},
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }

    async fn listen_for_web(&self) -> anyhow::Result<Option<TcpListener>> {
        let Some(bind) = &self.web else { return Ok(None) };
        let listener = bind.listen("127.0.0.1").await?;
        tracing::info!("hooks: http://{}/v1/hook-executions", listener.local_addr()?);
        Ok(Some(listener))
    }

    async fn listen(&self, bind: &Bind) -> anyhow::Result<Listener> {
        let acceptor = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
            (None, _) | (_, None) => None,
        };
        let listener = bind.listen("0.0.0.0").await?;
        let address: SocketAddr = listener.local_addr()?;
        tracing::info!("listening on {address}");
        Ok(match acceptor {
            Some(acceptor) => Listener::Tls(listener, acceptor),
            None => Listener::Tcp(listener),
        })
    }
}

/// Serves the history of hooks, if anybody wants it, for as long as it is polled.
async fn serve_web(
    listener: Option<TcpListener>,
    exporters: Vec<ExporterDir>,
) -> anyhow::Result<Infallible> {
    let Some(listener) = listener else { return pending().await };
    web::serve(listener, exporters, CancellationToken::new()).await?;
    bail!("the listener of --web has closed")
}

/// Lets the process have as many connections as the system allows.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("can't raise the limit of {soft} open files: {error}");
    }
}
