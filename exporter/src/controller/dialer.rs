//! How bytes get to a controller or a router, and back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::target::Target;

/// How long each step may take: to look a name up, to connect to one of its addresses, and to shake
/// hands.
const STEP: Duration = Duration::from_secs(10);

/// Anything that bytes go through.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Connects. Each connection looks the name up anew.
#[async_trait::async_trait]
pub trait Dialer: fmt::Debug + Send + Sync {
    /// Connects to `target`.
    async fn dial(&self, target: &Target) -> io::Result<Box<dyn Bytes>>;
}

/// The network: TCP, and TLS on it.
pub(super) struct Network {
    tls: Option<TlsConnector>,
    /// The name that the certificate has to be for, if not the target's.
    server_name: Option<String>,
}

impl Network {
    /// Without a configuration, there is no TLS.
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, server_name: Option<String>) -> Self {
        Self { tls: tls.map(TlsConnector::from), server_name }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Dialer for Network {
    async fn dial(&self, target: &Target) -> io::Result<Box<dyn Bytes>> {
        let stream = connect(target).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = self.server_name.as_ref().unwrap_or(&target.host);
        let name = ServerName::try_from(name.clone())
            .map_err(|_| failed(&format!("{name} can't be the name of a certificate")))?;
        let shaken = within(STEP, "the TLS handshake", tls.connect(name, stream)).await;
        shaken
            .map(|stream| Box::new(stream) as _)
            .map_err(|error| failed(&format!("no TLS with {target}: {error}")))
    }
}

/// Tries every address of the name.
async fn connect(target: &Target) -> io::Result<TcpStream> {
    let host = (target.host.as_str(), target.port);
    let addresses = within(STEP, "the look-up", lookup_host(host)).await;
    let addresses =
        addresses.map_err(|error| failed(&format!("no address for {}: {error}", target.host)))?;
    let mut reason = failed(&format!("no address for {}", target.host));
    for address in addresses {
        match within(STEP, "connecting", TcpStream::connect(address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => reason = failed(&format!("can't connect to {address}: {error}")),
        }
    }
    Err(reason)
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(failed(&format!("{what} took longer than {} s", limit.as_secs()))),
    }
}

fn failed(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
