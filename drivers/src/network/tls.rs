//! TLS towards a service, trusting whom the exporter's host trusts.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{DriverError, Result, blocking};

/// How long reading the host's certificates may take.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

/// The certificates that the host trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` override where they
/// are, as for OpenSSL.
pub(crate) async fn host_roots() -> Result<RootCertStore> {
    let load = || Ok(rustls_native_certs::load_native_certs());
    let loaded = blocking::run("read the trusted certificates", LOAD_LIMIT, load).await?;
    for error in &loaded.errors {
        tracing::warn!("a trusted certificate can't be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    Ok(roots)
}

/// Shakes hands with the server at the other end of `stream`, which has to prove that it is `host`.
pub(crate) async fn shake_hands<S>(
    stream: S,
    host: &str,
    roots: RootCertStore,
) -> Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| DriverError::InvalidArgument(format!("'{host}' is no name for TLS")))?;
    TlsConnector::from(Arc::new(config(roots)))
        .connect(name, stream)
        .await
        .map_err(|error| DriverError::io(format!("TLS with {host}"), error))
}

/// How connections are made that trust these certificates.
pub(crate) fn config(roots: RootCertStore) -> ClientConfig {
    // Named here and not taken from the process, so that it doesn't matter which others are linked.
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("because the provider supports the versions that rustls takes for safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::CertifiedKey;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    /// A server for `localhost`, and the certificate by which it can be trusted.
    pub(in crate::network) fn server() -> (TlsAcceptor, CertificateDer<'static>) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (TlsAcceptor::from(Arc::new(config)), cert.der().clone())
    }

    #[tokio::test]
    async fn a_trusted_server_is_talked_to() {
        let (acceptor, certificate) = server();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let (near, far) = duplex(4096);
        let (near, far) = tokio::join!(shake_hands(near, "localhost", roots), acceptor.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"secret").await.unwrap();
        near.flush().await.unwrap();
        let mut heard = [0; 6];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"secret");
    }

    #[tokio::test]
    async fn a_stranger_is_not() {
        let (acceptor, _) = server();
        let (near, far) = duplex(4096);
        let (near, _far) = tokio::join!(
            shake_hands(near, "localhost", RootCertStore::empty()),
            acceptor.accept(far)
        );
        let error = near.unwrap_err().to_string();
        assert_eq!(error, "TLS with localhost: invalid peer certificate: UnknownIssuer");
    }
}
