//! What the lab shows to its clients: a certificate, made for every name and address of the host or
//! given.
//!
//! Clients trust the lab's own authority, which is made once and kept. The certificate that it signs
//! lives shortly, is never written down, and is made anew while the lab is served; so names can
//! change and nothing runs out. A given certificate is read again at the same times.

mod host;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

pub use self::host::{names as host_names, own_name};
use super::directory::{Directory, DirectoryError, write};
use crate::tls;

/// How long a certificate lives, and how often there is a new one.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
const RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How far the clock of a client may be behind.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// How long the authority lives: whoever replaces it has to replace every client's file.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);

/// Where the lab's certificate comes from.
#[derive(Debug)]
pub enum Source {
    /// The lab signs it.
    Own {
        /// What it signs with.
        authority: Box<Authority>,
        /// The names and addresses that it is for.
        names: Vec<String>,
    },
    /// Somebody else has, and keeps it up to date.
    Given {
        /// The file with the chain, in PEM.
        certificate: PathBuf,
        /// The file with the key, in PEM.
        key: PathBuf,
    },
}

/// What the lab's own certificates are signed with.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients trust, in PEM.
    pem: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The lab's own files can't be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A given one can't be used.
    #[error(transparent)]
    Given(#[from] tls::TlsError),
    /// One can't be made.
    #[error("can't make a certificate for {names}: {reason}")]
    Own {
        /// What it would be for.
        names: String,
        /// What is wrong.
        reason: String,
    },
}

/// The certificate of the lab, as it is now.
#[derive(Debug)]
pub struct Certificate {
    source: Source,
    shown: Arc<Shown>,
}

/// What handshakes take.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Authority {
    /// The authority of a lab, which is made on first use.
    pub fn open(directory: &Directory) -> Result<Self, CertificateError> {
        let made = || KeyPair::generate().map(|key| key.serialize_pem().into_bytes());
        let key = directory.secret("ca.key", || made().map_err(|error| error.to_string()))?;
        let path = directory.file("ca.key");
        let damaged = |finding: String| DirectoryError::Damaged { path: path.clone(), finding };
        let text = String::from_utf8(key).map_err(|error| damaged(error.to_string()))?;
        let key = KeyPair::from_pem(&text).map_err(|error| damaged(error.to_string()))?;
        let path = directory.file("ca.pem");
        let pem = match std::fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(_) => {
                let made =
                    params(&[], AUTHORITY_LIFE).and_then(|it| authority(it).self_signed(&key));
                let pem = made.map_err(|error| damaged(error.to_string()))?.pem();
                write(&path, pem.as_bytes())
                    .map_err(|reason| DirectoryError::Io { path: path.clone(), reason })?;
                pem
            }
        };
        let params = params(&[], AUTHORITY_LIFE).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { issuer: Issuer::new(authority(params), key), pem })
    }

    /// What clients trust, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn sign(&self, names: &[String]) -> Result<CertifiedKey, CertificateError> {
        let refused = |reason: String| CertificateError::Own { names: names.join(", "), reason };
        let made = || -> Result<_, rcgen::Error> {
            let mut params = params(names, LIFE)?;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &self.issuer)?, key))
        };
        let (leaf, key) = made().map_err(|error| refused(error.to_string()))?;
        let authority = CertificateDer::from_pem_slice(self.pem.as_bytes())
            .map_err(|error| refused(error.to_string()))?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| refused(error.to_owned()))?;
        certified(vec![leaf.der().clone(), authority], &key)
            .map_err(|error| refused(error.to_string()))
    }
}

impl std::fmt::Debug for Authority {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Certificate {
    /// The certificate from where it comes.
    pub fn new(source: Source) -> Result<Self, CertificateError> {
        tls::install_crypto();
        let shown = Arc::new(Shown(RwLock::new(Arc::new(source.certified()?))));
        Ok(Self { source, shown })
    }

    /// For the handshakes of the lab's port.
    pub fn acceptor(&self) -> TlsAcceptor {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(&self.shown);
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Replaces it in time, for as long as it is polled.
    pub async fn keep(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.source.certified() {
                Ok(fresh) => {
                    *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                }
                Err(error) => tracing::error!("the lab goes on with its old certificate: {error}"),
            }
        }
    }
}

impl Source {
    fn certified(&self) -> Result<CertifiedKey, CertificateError> {
        match self {
            Self::Own { authority, names } => authority.sign(names),
            Self::Given { certificate, key } => Ok(tls::certified(certificate, key)?),
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)?;
    Ok(CertifiedKey::new(chain, key))
}

fn params(names: &[String], life: SignedDuration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let now = Timestamp::now();
    let name = if names.is_empty() { "Hilt lab authority" } else { "Hilt lab" };
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let day = |date: civil::Date| {
        let number = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), number(date.month()), number(date.day()))
    };
    let date = |at: Timestamp| day(at.to_zoned(TimeZone::UTC).date());
    params.not_before = date(now.saturating_sub(SKEW).unwrap_or(now));
    params.not_after = date(now.saturating_add(life).unwrap_or(now));
    Ok(params)
}

fn authority(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    /// Whether somebody who trusts this takes that certificate for the name.
    fn is_trusted(ca: &str, shown: &CertifiedKey, name: &'static str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
        let name = ServerName::try_from(name).unwrap();
        let rest = shown.cert.get(1..).unwrap_or_default();
        verifier.verify_server_cert(&shown.cert[0], rest, &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn what_clients_trust_outlives_every_certificate() {
        tls::install_crypto();
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::open(state.path()).unwrap();
        let names = ["lab.example".to_owned(), "127.0.0.1".to_owned()];
        let first = Authority::open(&directory).unwrap();
        let ca = first.pem().to_owned();
        let again = Authority::open(&directory).unwrap();
        for authority in [&first, &again] {
            let shown = authority.sign(&names).unwrap();
            assert!(is_trusted(&ca, &shown, "lab.example"));
            assert!(is_trusted(&ca, &shown, "127.0.0.1"));
            assert!(!is_trusted(&ca, &shown, "other.example"));
        }
        let other = tempfile::tempdir().unwrap();
        let other = Authority::open(&Directory::open(other.path()).unwrap()).unwrap();
        assert!(!is_trusted(&ca, &other.sign(&names).unwrap(), "lab.example"));
    }

    #[test]
    fn a_name_that_is_none_is_told() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::open(&Directory::open(state.path()).unwrap()).unwrap();
        let refused = authority.sign(&["bär".into()]).unwrap_err().to_string();
        assert!(refused.starts_with("can't make a certificate for bär: "), "{refused}");
    }
}
