//! Where a service listens, as the configuration of TCP and UDP services says it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::{address_disabled, enabled};
use crate::{DriverError, Result, number};

/// How long the resolver may take; by itself it gives up on most networks after 10 s to 20 s.
const LOOKUP_LIMIT: Duration = Duration::from_secs(20);

/// A host and a port; also the `config:` block of [`TcpNetwork`](super::tcp::TcpNetwork) and
/// [`UdpNetwork`](super::udp::UdpNetwork).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The port number.
    #[serde(deserialize_with = "number::whole")]
    pub port: u16,
    /// Whether clients may ask for the address.
    #[serde(default = "enabled")]
    pub enable_address: bool,
}

impl Endpoint {
    /// A place to connect to that no client asks about.
    pub(crate) fn new(host: String, port: u16) -> Self {
        Self { host, port, enable_address: false }
    }

    /// The addresses that the host's name stands for, in the resolver's order of preference.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>> {
        let context = || format!("look up '{}'", self.host);
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let found = timeout(LOOKUP_LIMIT, lookup).await.map_err(|_| {
            DriverError::Timeout(format!("{}: no answer within {LOOKUP_LIMIT:?}", context()))
        })?;
        let mut addresses: Vec<_> =
            found.map_err(|error| DriverError::io(context(), error))?.collect();
        addresses.dedup();
        if addresses.is_empty() {
            let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(DriverError::io(context(), error));
        }
        Ok(addresses)
    }

    /// The URL that clients are told: with the first address of the host, or with the host as it is
    /// written if it has none.
    pub(super) async fn address(&self, scheme: &str) -> Result<String> {
        if !self.enable_address {
            return Err(address_disabled());
        }
        if self.host.parse::<IpAddr>().is_ok() {
            return Ok(format!("{scheme}://{self}"));
        }
        match self.resolve().await.ok().and_then(|found| found.first().copied()) {
            Some(address) => Ok(format!("{scheme}://{address}")),
            None => Ok(format!("{scheme}://{self}")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn address(host: &str, enable_address: bool) -> Result<String, String> {
        let endpoint = Endpoint { host: host.into(), port: 8080, enable_address };
        endpoint.address("tcp").await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_address_is_a_url_with_the_first_address() {
        assert_eq!(address("127.0.0.1", true).await.unwrap(), "tcp://127.0.0.1:8080");
        assert_eq!(address("::1", true).await.unwrap(), "tcp://[::1]:8080");
        let local = address("localhost", true).await.unwrap();
        assert!(["tcp://127.0.0.1:8080", "tcp://[::1]:8080"].contains(&&*local), "{local}");
        // Longer than names may be, so that nobody is asked about it.
        let name = "x".repeat(300);
        assert_eq!(address(&name, true).await.unwrap(), format!("tcp://{name}:8080"));
    }

    #[tokio::test]
    async fn an_address_can_be_withheld() {
        assert_eq!(
            address("127.0.0.1", false).await.unwrap_err(),
            "enable_address mode is not true in the exporter configuration"
        );
    }
}
