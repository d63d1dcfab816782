//! What the environment says about the exporter.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use tonic::metadata::{Ascii, MetadataValue};

use super::error::{Error, Result};

/// Where the exporter is and how to speak to it.
///
/// `JMP_DRIVERS_ALLOW` has no place here. It says which client classes the reference may *import*
/// on the word of an exporter; this client loads no code whatever the exporter reports, so there is
/// nothing to allow.
#[derive(Debug, PartialEq)]
pub(crate) struct Environment {
    /// `JUMPSTARTER_HOST`
    pub(crate) host: Host,
    /// `JMP_GRPC_PASSPHRASE`
    pub(crate) passphrase: Option<Passphrase>,
}

/// Where the exporter listens.
#[derive(Debug, PartialEq)]
pub(crate) enum Host {
    /// A Unix socket, always without TLS.
    Unix(PathBuf),
    /// `host:port`
    Tcp { address: String, security: Security },
}

/// What protects a TCP connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Security {
    /// Nothing: `JMP_GRPC_INSECURE=1` or `JUMPSTARTER_GRPC_INSECURE=1`.
    Plaintext,
    /// TLS with the certificates that the system trusts.
    SystemRoots,
    /// TLS with the certificates in this PEM file alone: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, which
    /// the gRPC library under the reference reads.
    Roots(PathBuf),
}

/// The metadata that opens an exporter which was started with a passphrase.
#[derive(Clone, PartialEq)]
pub(crate) struct Passphrase(pub(crate) MetadataValue<Ascii>);

impl Environment {
    /// Reads the variables through `variable`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let host = variable("JUMPSTARTER_HOST").ok_or(Error::NoHost)?;
        let is_set = |name| variable(name).is_some_and(|value| value == "1");
        let security = if is_set("JMP_GRPC_INSECURE") || is_set("JUMPSTARTER_GRPC_INSECURE") {
            Security::Plaintext
        } else if let Some(roots) = variable("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") {
            Security::Roots(roots.into())
        } else {
            Security::SystemRoots
        };
        let host = match tcp_address(&host) {
            Some(address) => Host::Tcp { address: address.to_owned(), security },
            None => Host::Unix(host.into()),
        };
        let passphrase = variable("JMP_GRPC_PASSPHRASE")
            .filter(|value| !value.is_empty())
            .map(Passphrase::new)
            .transpose()?;
        Ok(Self { host, passphrase })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { address, .. } => f.write_str(address),
        }
    }
}

impl Passphrase {
    fn new(value: OsString) -> Result<Self> {
        value.to_str().and_then(|text| text.parse().ok()).map(Self).ok_or(Error::Environment {
            variable: "JMP_GRPC_PASSPHRASE",
            reason: "only printable ASCII can be sent to an exporter",
        })
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The reference's rule: whatever ends in a colon and a port number is TCP, anything else a path.
fn tcp_address(host: &OsStr) -> Option<&str> {
    let address = host.to_str()?;
    let (_, port) = address.rsplit_once(':')?;
    port.parse::<u16>().is_ok_and(|port| port != 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::read(|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into())
        })
    }

    fn host(value: &str) -> Host {
        read(&[("JUMPSTARTER_HOST", value)]).unwrap().host
    }

    #[test]
    fn a_port_number_makes_it_tcp() {
        for address in ["bench:1234", "127.0.0.1:1", "[::1]:65535"] {
            let tcp = Host::Tcp { address: address.into(), security: Security::SystemRoots };
            assert_eq!(host(address), tcp);
        }
        for path in ["/run/x/socket", "bench", "bench:", "bench:0", "bench:65536", "/tmp/a:b"] {
            assert_eq!(host(path), Host::Unix(path.into()));
        }
    }

    #[test]
    fn either_variable_makes_tcp_plaintext() {
        for variable in ["JMP_GRPC_INSECURE", "JUMPSTARTER_GRPC_INSECURE"] {
            let environment = read(&[("JUMPSTARTER_HOST", "h:1"), (variable, "1")]).unwrap();
            let Host::Tcp { security, .. } = environment.host else { panic!("not TCP") };
            assert_eq!(security, Security::Plaintext);
        }
    }

    #[test]
    fn a_file_of_roots_replaces_those_of_the_system() {
        let variables = [("JUMPSTARTER_HOST", "h:1"), ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "/ca")];
        let Host::Tcp { security, .. } = read(&variables).unwrap().host else { panic!("not TCP") };
        assert_eq!(security, Security::Roots("/ca".into()));
    }

    #[test]
    fn without_a_host_it_says_where_it_belongs() {
        assert_eq!(
            read(&[]).unwrap_err().to_string(),
            "the j command must be used inside a jmp shell: JUMPSTARTER_HOST not set"
        );
    }

    #[test]
    fn a_passphrase_is_never_shown() {
        let environment =
            read(&[("JUMPSTARTER_HOST", "h:1"), ("JMP_GRPC_PASSPHRASE", "swordfish")]);
        let environment = environment.unwrap();
        assert!(environment.passphrase.is_some());
        assert!(!format!("{environment:?}").contains("swordfish"));
        let error = read(&[("JUMPSTARTER_HOST", "h:1"), ("JMP_GRPC_PASSPHRASE", "sw\nord")]);
        assert!(!error.unwrap_err().to_string().contains("sw"));
    }
}
