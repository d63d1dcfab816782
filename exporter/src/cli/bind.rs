//! Addresses to listen on.

use std::io;
use std::str::FromStr;

use anyhow::Context as _;
use tokio::net::TcpListener;

/// An address to listen on: `[HOST:]PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bind {
    host: Option<String>,
    port: u16,
}

impl Bind {
    /// The host, if one was said.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Listens there; `host` is where if nothing else was said.
    pub(super) async fn listen(&self, host: &str) -> anyhow::Result<TcpListener> {
        let host = self.host.as_deref().unwrap_or(host);
        let listen: io::Result<_> = TcpListener::bind((host, self.port)).await;
        listen.with_context(|| format!("can't listen on {host}:{}", self.port))
    }
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
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_with_or_without_a_host() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| (bind.host, bind.port));
        assert_eq!(bind("1234"), Ok((None, 1234)));
        assert_eq!(bind(":1234"), Ok((None, 1234)));
        assert_eq!(bind("127.0.0.1:1234"), Ok((Some("127.0.0.1".into()), 1234)));
        assert_eq!(bind("[::1]:1234"), Ok((Some("::1".into()), 1234)));
        for (text, port) in [("0", "0"), ("x:y", "y"), ("h:65536", "65536"), ("h:", "")] {
            let message = format!("'{port}' is not a port; it has to be 1 to 65535");
            assert_eq!(bind(text), Err(message));
        }
    }
}
