//! What the `url` setting of a serial port may say.

use std::fmt;

use serde::Deserialize;

use crate::network::Endpoint;

/// Where the bytes come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Target {
    /// A terminal device, by its path.
    Device(String),
    /// A serial port server that speaks plain TCP.
    Socket(Endpoint),
    /// Nowhere: what is sent comes back.
    Loop,
}

/// What to write instead of a URL that can't be used.
const INSTEAD: &str = "use a device path, socket://HOST:PORT or loop://";

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return if url.is_empty() {
                Err(format!("the url is empty; {INSTEAD}"))
            } else {
                Ok(Self::Device(url))
            };
        };
        // pyserial compares schemes without regard to case.
        match scheme.to_ascii_lowercase().as_str() {
            "loop" if rest.is_empty() => Ok(Self::Loop),
            "socket" => socket(rest)
                .ok_or_else(|| format!("'{url}' is not a socket URL; write socket://HOST:PORT")),
            "rfc2217" | "hwgrep" | "alt" | "cp2110" => {
                Err(format!("{scheme}:// URLs are not supported yet; {INSTEAD}"))
            }
            "spy" => Err(format!("spy:// is a debugging aid of pyserial itself; {INSTEAD}")),
            _ => Err(format!("'{url}' is no URL of a serial port; {INSTEAD}")),
        }
    }
}

/// Reads `HOST:PORT`, the host in brackets if it is an IPv6 address.
fn socket(place: &str) -> Option<Target> {
    let (host, port) = place.strip_suffix('/').unwrap_or(place).rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains([':', '/']) => return None,
        None => host,
    };
    if host.is_empty() {
        return None;
    }
    Some(Target::Socket(Endpoint::new(host.to_owned(), port.parse().ok()?)))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => f.write_str(path),
            Self::Socket(endpoint) => write!(f, "socket://{endpoint}"),
            Self::Loop => f.write_str("loop://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_what_they_look_like() {
        let shown = |url: &str| match Target::try_from(url.to_owned()).unwrap() {
            Target::Device(path) => format!("device {path}"),
            Target::Socket(endpoint) => format!("socket {} {}", endpoint.host, endpoint.port),
            Target::Loop => "loop".into(),
        };
        assert_eq!(shown("/dev/ttyUSB0"), "device /dev/ttyUSB0");
        assert_eq!(shown("/dev/serial/by-id/a:b"), "device /dev/serial/by-id/a:b");
        assert_eq!(shown("loop://"), "loop");
        assert_eq!(shown("socket://ser2net:3001"), "socket ser2net 3001");
        assert_eq!(shown("SOCKET://[::1]:3001/"), "socket ::1 3001");
    }

    #[test]
    fn other_urls_are_refused_with_what_would_be_right() {
        let refused = |url: &str| Target::try_from(url.to_owned()).unwrap_err();
        assert_eq!(
            refused("rfc2217://lab:2217"),
            "rfc2217:// URLs are not supported yet; \
             use a device path, socket://HOST:PORT or loop://"
        );
        assert_eq!(
            refused("spy:///dev/ttyUSB0"),
            "spy:// is a debugging aid of pyserial itself; \
             use a device path, socket://HOST:PORT or loop://"
        );
        for url in ["socket://lab", "socket://:1", "socket://::1:2", "socket://lab:http"] {
            assert_eq!(
                refused(url),
                format!("'{url}' is not a socket URL; write socket://HOST:PORT")
            );
        }
        assert!(refused("").starts_with("the url is empty"));
        assert!(refused("loop://x").contains("is no URL of a serial port"));
    }
}
