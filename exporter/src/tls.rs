//! TLS: one crypto provider for all, and the certificate of a listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Makes ring the crypto of every TLS connection of this process. Without a choice, a second
/// provider that some dependency might bring would make the first connection panic.
pub fn install_crypto() {
    // An error means that it has been done before.
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// Why a listener can't offer TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds no PEM of the right kind.
    #[error("{}: not a usable PEM {kind}: {reason}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The two don't belong together, or are of a kind that nobody supports.
    #[error("certificate {} and key {} can't be used: {source}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A TLS listener's identity, from PEM files.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    install_crypto();
    let pair = SingleCertAndKey::from(certified(certificate, key)?);
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(pair));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A certificate's chain with its key, from PEM files.
pub fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, "certificate", &error))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "certificate", &"there is none in it"));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, "private key", &error))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).map_err(
        |source| TlsError::Pair { certificate: certificate.into(), key: key.into(), source },
    )
}

fn unusable(path: &Path, kind: &'static str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Pem { path: path.into(), kind, reason: reason.to_string() }
}
