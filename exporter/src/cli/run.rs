//! `hilt run`: serves a bench.

use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args};
use futures_util::FutureExt as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bind::Bind;
use super::run_lab::LabOptions;
use super::source::Sources;
use crate::app::{Controlled, Fleet, Standalone, Start};
use crate::controller::Settings;
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
        let mut members = self.sources.load()?;
        ensure!(
            members.len() == 1 || self.tls_grpc_listener.is_none(),
            "--tls-grpc-listener serves one exporter; several are served by --lab, or by the \
             controller at each one's `endpoint:`"
        );
        if self.lab.bind().is_none() && self.tls_grpc_listener.is_none() {
            for member in &mut members {
                member.require(|config| Ok(Settings::of(config).map(drop)?));
            }
        }
        if self.tls_grpc_insecure && self.passphrase.is_some() {
            tracing::warn!("without TLS, the passphrase will be transmitted in plaintext");
        }
        raise_file_limit();
        let shutdown = Shutdown::default();
        let state_dir = StateDir::of(self.state_dir.as_deref());
        let fleet = Fleet::new(members, state_dir, self.exit_on_lease_end)?;
        super::runtime()?.block_on(async {
            let signals = Signals::new(OnHangup::Reload).context("can't listen to signals")?;
            let web = self.listen_for_web().await?;
            let directories = fleet.directories();
            tokio::select! {
                code = self.serve(fleet, &shutdown) => Ok(ExitCode::from(code?)),
                failed = serve_web(web, directories) => match failed? {},
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }

    /// Runs the exporters as was asked for; returns the exit code.
    async fn serve(&self, fleet: Fleet, shutdown: &Shutdown) -> anyhow::Result<u8> {
        if let Some(bind) = self.lab.bind() {
            return self.lab.serve(bind, fleet, shutdown).await;
        }
        let start: Arc<Start> = match &self.tls_grpc_listener {
            Some(bind) => self.standalone(bind).await?,
            None => Arc::new(|setup, shutdown| {
                async move {
                    let exporter = Controlled::new(setup, &shutdown)?;
                    service_manager::ready();
                    exporter.run(&shutdown).await
                }
                .boxed()
            }),
        };
        Ok(fleet.run(start, shutdown).await)
    }

    /// One exporter on a port of its own, which is kept while the exporter is started again.
    async fn standalone(&self, bind: &Bind) -> anyhow::Result<Arc<Start>> {
        let acceptor = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
            (None, _) | (_, None) => None,
        };
        let listener = bind.listen("0.0.0.0").await?;
        tracing::info!("listening on {}", listener.local_addr()?);
        let listener = listener.into_std()?;
        let passphrase = self.passphrase.clone();
        Ok(Arc::new(move |setup, shutdown| {
            let (passphrase, acceptor) = (passphrase.clone(), acceptor.clone());
            let listener = listener.try_clone();
            async move {
                let exporter = Standalone::new(setup, &shutdown)?;
                let listener = TcpListener::from_std(listener?)?;
                let listener = match acceptor {
                    Some(acceptor) => Listener::Tls(listener, acceptor),
                    None => Listener::Tcp(listener),
                };
                service_manager::ready();
                exporter.run(listener, passphrase, &shutdown).await
            }
            .boxed()
        }))
    }

    async fn listen_for_web(&self) -> anyhow::Result<Option<TcpListener>> {
        let Some(bind) = &self.web else { return Ok(None) };
        let listener = bind.listen("127.0.0.1").await?;
        tracing::info!("hooks: http://{}/v1/hook-executions", listener.local_addr()?);
        Ok(Some(listener))
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
