//! Where a controller, a router or a telemetry service is.

use std::fmt;
use std::str::FromStr;

/// What is meant where no port is given, as in the reference.
const DEFAULT_PORT: u16 = 443;

/// A host and a port, as in `endpoint:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why something is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not HOST:PORT")]
pub struct BadTarget(String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        // What gRPC calls the scheme of its usual resolver.
        let address = text.strip_prefix("dns:///").or(text.strip_prefix("dns:")).unwrap_or(text);
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(bad)?;
                (
                    host,
                    if port.is_empty() {
                        None
                    } else {
                        Some(port.strip_prefix(':').ok_or_else(bad)?)
                    },
                )
            }
            None => match address.split_once(':') {
                // More than one colon: an address of IPv6.
                Some((_, port)) if port.contains(':') => (address, None),
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let is_host =
            |c: char| !c.is_whitespace() && !matches!(c, '/' | '@' | '?' | '#' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(bad());
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| bad()))?;
        if port == 0 {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_with_or_without_a_port() {
        for (text, expected) in [
            ("controller.lab:8082", "controller.lab:8082"),
            ("controller.lab", "controller.lab:443"),
            ("dns:///controller.lab:8082", "controller.lab:8082"),
            ("127.0.0.1:8082", "127.0.0.1:8082"),
            ("[::1]:8082", "[::1]:8082"),
            ("[::1]", "[::1]:443"),
            ("::1", "[::1]:443"),
        ] {
            let target = text.parse::<Target>().map(|target| target.to_string());
            assert_eq!(target.as_deref(), Ok(expected), "{text}");
        }
        for text in ["", ":8082", "a:0", "a:x", "a:65536", "https://a:1", "a b:1", "[::1", "[::1]x"]
        {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.to_string(), format!("'{text}' is not HOST:PORT"));
        }
    }
}
