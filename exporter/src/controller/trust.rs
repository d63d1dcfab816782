//! Whom to believe that it is the controller, or one of its routers.

use std::env;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::config::Tls;

/// Names a file of roots to be used instead of the system's, as in every gRPC program.
const ROOTS_FILE: &str = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";

/// Set to 1, as good as `tls.insecure`.
const INSECURE: [&str; 2] = ["JMP_GRPC_INSECURE", "JUMPSTARTER_GRPC_INSECURE"];

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// What is said to be certificates is none.
    #[error("{0}: no certificate in PEM can be read from it")]
    NoCertificates(&'static str),
    /// The system has none.
    #[error("the system has no root certificates; give the controller's as `tls.ca`")]
    NoRoots,
    /// They can't be used.
    #[error("the certificates can't be used: {0}")]
    Unusable(String),
}

/// TLS for whom a configuration trusts.
///
/// # Errors
///
/// Nobody could be trusted.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, TrustError> {
    let is_set = |name| env::var(name).is_ok_and(|value| value == "1");
    let trust = match &tls.ca {
        _ if tls.insecure || INSECURE.into_iter().any(is_set) => Trust::Anybody,
        Some(ca) => Trust::these(certificates(ca.as_bytes(), "tls.ca")?)?,
        None => Trust::these(roots()?)?,
    };
    Ok(configured(trust))
}

fn configured(trust: Trust) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    if found.is_empty() { Err(TrustError::NoCertificates(what)) } else { Ok(found) }
}

fn roots() -> Result<Vec<CertificateDer<'static>>, TrustError> {
    if let Some(file) = env::var_os(ROOTS_FILE).filter(|file| Path::new(file).is_file()) {
        let found = CertificateDer::pem_file_iter(&file).into_iter().flatten();
        let found: Vec<_> = found.filter_map(Result::ok).collect();
        return if found.is_empty() {
            Err(TrustError::NoCertificates(ROOTS_FILE))
        } else {
            Ok(found)
        };
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() { Err(TrustError::NoRoots) } else { Ok(found.certs) }
}

/// Whom to believe.
#[derive(Debug)]
enum Trust {
    /// Whoever answers. What is said is encrypted all the same.
    Anybody,
    /// Who has one of these certificates, or one that they vouch for; its name has to match.
    These { certificates: Vec<CertificateDer<'static>>, verifier: Arc<WebPkiServerVerifier> },
}

impl Trust {
    fn these(certificates: Vec<CertificateDer<'static>>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TrustError::Unusable(error.to_string()))?;
        Ok(Self::These { certificates, verifier })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Self::These { certificates, verifier } = self else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = verifier.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // A self-signed certificate that calls itself an authority, too: webpki has a rule against
            // that, other TLS libraries don't. Who was told to trust this very one trusts it.
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_)))
                if certificates.iter().any(|known| known == certificate) =>
            {
                let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
                rustls::client::verify_server_name(&parsed, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}
