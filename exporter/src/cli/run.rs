//! `hilt run`: serves a bench.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::source::Source;
use crate::app::{Setup, Standalone};
use crate::secret::Secret;
use crate::session::listener::Listener;
use crate::shutdown::{Shutdown, Signals};
use crate::tls;

/// Serve a bench to clients, with its hooks around every lease.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("security").args(["tls_grpc_insecure", "tls_cert"]))]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    /// Serve clients on this address, without a controller.
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
    /// Ask clients for this passphrase.
    #[arg(long, value_name = "TEXT", requires = "tls_grpc_listener")]
    passphrase: Option<Secret>,
    /// Stop after the first lease.
    #[arg(long)]
    exit_on_lease_end: bool,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, file) = self.source.load()?;
        let Some(bind) = &self.tls_grpc_listener else {
            bail!(
                "give --tls-grpc-listener [HOST:]PORT to serve clients directly; \
                 being scheduled by a controller is not supported by this version"
            );
        };
        if self.tls_grpc_insecure && self.passphrase.is_some() {
            tracing::warn!("without TLS, the passphrase will be transmitted in plaintext");
        }
        raise_file_limit();
        let shutdown = Shutdown::default();
        let exit_on_lease_end = self.exit_on_lease_end;
        let setup = Setup { config, file, exit_on_lease_end, state: None };
        let exporter = Standalone::new(setup, &shutdown)?;
        super::runtime()?.block_on(async {
            let signals = Signals::new().context("can't listen to signals")?;
            let listener = self.listen(bind).await?;
            let run = exporter.run(listener, self.passphrase.clone(), &shutdown);
            tokio::select! {
                code = run => Ok(ExitCode::from(code?)),
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }

    async fn listen(&self, bind: &Bind) -> anyhow::Result<Listener> {
        let acceptor = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
            (None, _) | (_, None) => None,
        };
        let listener = TcpListener::bind((bind.host.as_str(), bind.port))
            .await
            .with_context(|| format!("can't listen on {bind}"))?;
        let address: SocketAddr = listener.local_addr()?;
        tracing::info!("listening on {address}");
        Ok(match acceptor {
            Some(acceptor) => Listener::Tls(listener, acceptor),
            None => Listener::Tcp(listener),
        })
    }
}

/// An address to listen on: `[HOST:]PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bind {
    host: String,
    port: u16,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("'{port}' is not a port; it has to be 1 to 65535"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_with_or_without_a_host() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| bind.to_string());
        assert_eq!(bind("1234"), Ok("0.0.0.0:1234".into()));
        assert_eq!(bind(":1234"), Ok("0.0.0.0:1234".into()));
        assert_eq!(bind("127.0.0.1:1234"), Ok("127.0.0.1:1234".into()));
        assert_eq!(bind("[::1]:1234"), Ok("::1:1234".into()));
        for (text, port) in [("0", "0"), ("x:y", "y"), ("h:65536", "65536"), ("h:", "")] {
            let message = format!("'{port}' is not a port; it has to be 1 to 65535");
            assert_eq!(bind(text), Err(message));
        }
    }
}
