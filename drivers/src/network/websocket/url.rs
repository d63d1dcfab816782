//! The URL of a WebSocket service.

use std::fmt;

use serde::Deserialize;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::network::Endpoint;

/// A `ws://` or `wss://` URL. It is shown without its query, which may hold a token.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Url {
    pub(super) text: String,
    pub(super) uri: Uri,
    pub(super) secure: bool,
    pub(super) endpoint: Endpoint,
    path: String,
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("'{text}' is not a URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(format!("'{text}' is not a ws:// or wss:// URL")),
        };
        let authority = uri.authority().ok_or_else(|| format!("'{text}' names no host"))?;
        if authority.as_str().contains('@') {
            return Err("a user name in the URL is not supported".into());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let endpoint = Endpoint::new(host.to_owned(), port);
        Ok(Self { secure, endpoint, path: uri.path().to_owned(), uri, text })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.endpoint, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        let url = Url::try_from("wss://[::1]/a?b".to_owned()).unwrap();
        assert_eq!(url.to_string(), "wss://[::1]:443/a");
        assert_eq!(url.endpoint.host, "::1");
        let refused = |text: &str| Url::try_from(text.to_owned()).err().unwrap();
        assert_eq!(refused("http://dut/"), "'http://dut/' is not a ws:// or wss:// URL");
        assert_eq!(refused("ws://me:pw@dut/"), "a user name in the URL is not supported");
    }
}
