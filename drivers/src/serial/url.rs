//! What the `url` setting of a serial port may say: the forms that pyserial has, as far as they mean
//! something here.

use std::fmt;
use std::time::Duration;

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
    /// A serial port server that speaks RFC 2217.
    Rfc2217(Rfc2217),
    /// Nowhere: what is sent comes back.
    Loop,
}

/// A serial port server that speaks RFC 2217, and what to put up with.
#[derive(Debug, Clone)]
pub(super) struct Rfc2217 {
    pub(super) endpoint: Endpoint,
    /// Whether its answers about modem lines and flow control don't count.
    pub(super) ignore_control: bool,
    /// How long it may take to answer.
    pub(super) answer_within: Duration,
}

/// What to write instead of a URL that can't be used.
const INSTEAD: &str = "use a device path, rfc2217://HOST:PORT, socket://HOST:PORT or loop://";

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
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let options = query.split('&').filter(|option| !option.is_empty());
        let options = options.map(|option| option.split_once('=').unwrap_or((option, "")));
        // pyserial compares schemes without regard to case.
        match scheme.to_ascii_lowercase().as_str() {
            "loop" if place.is_empty() => {
                only_logging(&url, options)?;
                Ok(Self::Loop)
            }
            "socket" => {
                only_logging(&url, options)?;
                let endpoint = endpoint(place).ok_or_else(|| {
                    format!("'{url}' is not a socket URL; write socket://HOST:PORT")
                })?;
                Ok(Self::Socket(endpoint))
            }
            "rfc2217" => rfc2217(&url, place, options).map(Self::Rfc2217),
            "alt" if !place.is_empty() => {
                only_class(&url, options)?;
                Ok(Self::Device(place.to_owned()))
            }
            "hwgrep" => Err(format!(
                "hwgrep:// picks another port when another adapter is plugged in first; name \
                 yours: `ls -l /dev/serial/by-id /dev/serial/by-path`, instead of '{url}'"
            )),
            "spy" => Err(format!(
                "spy:// is a debugging aid of pyserial itself; write the port as the url, and \
                 `record: true` keeps what it says, instead of '{url}'"
            )),
            "cp2110" => Err(format!(
                "cp2110:// is a HID device, for which there is no driver here; {INSTEAD}"
            )),
            _ => Err(format!("'{url}' is no URL of a serial port; {INSTEAD}")),
        }
    }
}

fn rfc2217<'a>(
    url: &str,
    place: &str,
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Rfc2217, String> {
    let form = "rfc2217://HOST:PORT[?ign_set_control][&timeout=SECONDS]";
    let endpoint =
        endpoint(place).ok_or_else(|| format!("'{url}' is not an RFC 2217 URL; write {form}"))?;
    let mut target =
        Rfc2217 { endpoint, ignore_control: false, answer_within: Duration::from_secs(3) };
    for (option, value) in options {
        match option {
            "ign_set_control" => target.ignore_control = true,
            "timeout" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0.0);
                let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                target.answer_within = limit.ok_or_else(|| {
                    format!("timeout '{value}' in '{url}' is not a positive number of seconds")
                })?;
            }
            // What is logged is said elsewhere, and nobody can ask for the modem's state.
            "logging" | "poll_modem" => {}
            _ => return Err(format!("'{url}' has an unknown option '{option}'; write {form}")),
        }
    }
    Ok(target)
}

/// pyserial logs on demand; here, the exporter's log level decides.
fn only_logging<'a>(
    url: &str,
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    only(url, "logging", options)
}

/// Which of pyserial's classes has the port makes no difference here.
fn only_class<'a>(
    url: &str,
    options: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    only(url, "class", options)
}

fn only<'a>(
    url: &str,
    known: &str,
    mut options: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    match options.find(|(option, _)| *option != known) {
        Some((option, _)) => Err(format!("'{url}' has an unknown option '{option}'; leave it out")),
        None => Ok(()),
    }
}

/// Reads `HOST:PORT`, the host in brackets if it is an IPv6 address.
fn endpoint(place: &str) -> Option<Endpoint> {
    let (host, port) = place.strip_suffix('/').unwrap_or(place).rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains([':', '/']) => return None,
        None => host,
    };
    if host.is_empty() {
        return None;
    }
    Some(Endpoint::new(host.to_owned(), port.parse().ok()?))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => f.write_str(path),
            Self::Socket(endpoint) => write!(f, "socket://{endpoint}"),
            Self::Rfc2217(target) => write!(f, "{target}"),
            Self::Loop => f.write_str("loop://"),
        }
    }
}

impl fmt::Display for Rfc2217 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rfc2217://{}", self.endpoint)
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
            Target::Rfc2217(Rfc2217 { endpoint, ignore_control, answer_within }) => format!(
                "rfc2217 {} {} {ignore_control} {answer_within:?}",
                endpoint.host, endpoint.port
            ),
            Target::Loop => "loop".into(),
        };
        assert_eq!(shown("/dev/ttyUSB0"), "device /dev/ttyUSB0");
        assert_eq!(shown("/dev/serial/by-id/a:b"), "device /dev/serial/by-id/a:b");
        assert_eq!(shown("alt:///dev/ttyUSB0?class=PosixPollSerial"), "device /dev/ttyUSB0");
        assert_eq!(shown("loop://"), "loop");
        assert_eq!(shown("loop://?logging=debug"), "loop");
        assert_eq!(shown("socket://ser2net:3001"), "socket ser2net 3001");
        assert_eq!(shown("SOCKET://[::1]:3001/"), "socket ::1 3001");
        assert_eq!(shown("rfc2217://lab:2217"), "rfc2217 lab 2217 false 3s");
        assert_eq!(
            shown("rfc2217://[::1]:2217/?ign_set_control&poll_modem&timeout=0.5"),
            "rfc2217 ::1 2217 true 500ms"
        );
    }

    #[test]
    fn other_urls_are_refused_with_what_would_be_right() {
        let refused = |url: &str| Target::try_from(url.to_owned()).unwrap_err();
        assert!(refused("hwgrep://0403:6001&n=2").contains("/dev/serial/by-id"));
        assert!(refused("spy:///dev/ttyUSB0").contains("`record: true`"));
        assert_eq!(
            refused("cp2110://"),
            "cp2110:// is a HID device, for which there is no driver here; use a device path, \
             rfc2217://HOST:PORT, socket://HOST:PORT or loop://"
        );
        for url in ["socket://lab", "socket://:1", "socket://::1:2", "socket://lab:http"] {
            assert_eq!(
                refused(url),
                format!("'{url}' is not a socket URL; write socket://HOST:PORT")
            );
        }
        assert!(refused("rfc2217://lab").contains("write rfc2217://HOST:PORT"));
        assert!(refused("rfc2217://lab:1?speed=1").contains("unknown option 'speed'"));
        assert!(refused("rfc2217://lab:1?timeout=-1").contains("'-1'"));
        assert!(refused("socket://lab:1?timeout=1").contains("unknown option 'timeout'"));
        assert!(refused("").starts_with("the url is empty"));
        assert!(refused("loop://x").contains("is no URL of a serial port"));
    }
}
