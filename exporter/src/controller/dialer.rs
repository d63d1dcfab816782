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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::Tls;
    use crate::controller::trust::client_config;

    /// A server with a certificate for this name, which greets whoever comes; its port and its
    /// certificate in PEM.
    async fn server(name: &str, tasks: &mut JoinSet<()>) -> (u16, String) {
        let made = generate_simple_self_signed([name.to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Some hang up in the middle of the handshake.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    stream.write_all(b"hello").await.ok();
                }
            }
        });
        (port, cert.pem())
    }

    /// What a server says to whoever trusts so, or why nothing was heard.
    async fn heard(tls: Tls, name: Option<&str>, port: u16) -> Result<String, String> {
        let config = client_config(&tls).map_err(|error| error.to_string())?;
        let network = Network::new(Some(config), name.map(str::to_owned));
        let target = Target { host: "127.0.0.1".into(), port };
        let mut stream = network.dial(&target).await.map_err(|error| error.to_string())?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    #[tokio::test]
    async fn only_who_has_the_certificate_is_believed_and_anybody_where_that_is_said() {
        let mut tasks = JoinSet::new();
        let (port, ca) = server("127.0.0.1", &mut tasks).await;
        let (_, other) = server("127.0.0.1", &mut tasks).await;
        let trusting = |ca: &str| Tls { ca: Some(ca.to_owned()), insecure: false };
        assert_eq!(heard(trusting(&ca), None, port).await.as_deref(), Ok("hello"));
        let refused = heard(trusting(&other), None, port).await.unwrap_err();
        assert!(refused.starts_with(&format!("no TLS with 127.0.0.1:{port}: ")), "{refused}");
        let insecure = Tls { ca: None, insecure: true };
        assert_eq!(heard(insecure, None, port).await.as_deref(), Ok("hello"));
    }

    #[tokio::test]
    async fn a_certificate_has_to_be_for_the_name_that_is_asked_for() {
        let mut tasks = JoinSet::new();
        let (port, ca) = server("controller.lab", &mut tasks).await;
        let tls = Tls { ca: Some(ca), insecure: false };
        let refused = heard(tls.clone(), None, port).await.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        let named = heard(tls, Some("controller.lab"), port).await;
        assert_eq!(named.as_deref(), Ok("hello"));
    }
}
