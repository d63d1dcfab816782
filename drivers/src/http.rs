//! HTTP towards small devices: one request at a time, short answers, every one within a time limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_auth::{PasswordClient, PasswordParams};
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::network::tls;
use crate::secret::Secret;
use crate::{DriverError, Result};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// A device that is spoken to. Clones share what it takes to connect.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Made when it is first needed, because the trusted certificates have to be read for it.
    client: Arc<OnceCell<Client>>,
    limit: Duration,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) address: Address,
    pub(crate) login: Option<Login>,
    pub(crate) body: Body,
}

/// How a request shows who sends it.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) scheme: Scheme,
}

/// How a password is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// As it is, with the first request.
    Basic,
    /// As the answer to what the device asks (RFC 7616), so that nobody can read it on its way. That
    /// costs a second request.
    Digest,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Nothing,
    /// Text of whatever type.
    Text(Secret),
    /// Fields of a form; values may be secret.
    Form(Vec<(String, Secret)>),
    Json(serde_json::Value),
}

/// The URL of a device, which is shown without what may be a secret in it.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address(Url);

impl Http {
    /// A device that gets this long for every answer.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { client: Arc::default(), limit }
    }

    /// Sends a request, and returns the text of the answer.
    ///
    /// # Errors
    ///
    /// No connection, no answer in time, no permission, and any other answer than success are
    /// different categories.
    pub(crate) async fn send(&self, request: Request) -> Result<String> {
        let Request { method, address, login, body } = request;
        let what = format!("{method} {address}");
        tracing::debug!("{what}");
        let client = self.client.get_or_try_init(client).await?;
        let call = || {
            let call = client.request(method.clone(), address.0.clone()).timeout(self.limit);
            body.carried_by(call)
        };
        let first = match &login {
            Some(Login { user, password, scheme: Scheme::Basic }) => {
                call().basic_auth(user, Some(password.reveal()))
            }
            Some(Login { scheme: Scheme::Digest, .. }) | None => call(),
        };
        let failure = |error| self.failure(&what, &error);
        let mut response = first.send().await.map_err(failure)?;
        if let Some(login) = login.filter(|login| login.scheme == Scheme::Digest)
            && response.status() == StatusCode::UNAUTHORIZED
        {
            let shown = login.answer(&response, &method, &address);
            let shown =
                shown.map_err(|why| DriverError::PermissionDenied(format!("{what}: {why}")))?;
            response = call().header(AUTHORIZATION, shown).send().await.map_err(failure)?;
        }
        let status = response.status();
        let text = self.text(&what, response).await?;
        if status.is_success() { Ok(text) } else { Err(refusal(&what, status, &text)) }
    }

    async fn text(&self, what: &str, mut response: Response) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failure(what, &error))?
        {
            if bytes.len() + chunk.len() > LONGEST_ANSWER {
                let text = format!("{what}: the answer is longer than {LONGEST_ANSWER} bytes");
                return Err(DriverError::Device(text));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sorts an error of the library. Its own text is not shown, because it has the whole URL.
    fn failure(&self, what: &str, error: &reqwest::Error) -> DriverError {
        if error.is_timeout() {
            return DriverError::Timeout(format!("{what}: no answer within {:?}", self.limit));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let kind = if error.is_connect() { "no connection" } else { "no proper answer" };
        DriverError::Disconnected(format!("{what}: {kind}: {cause}"))
    }
}

impl Login {
    /// What the device has asked for with a refusal.
    fn answer(
        &self,
        refusal: &Response,
        method: &Method,
        address: &Address,
    ) -> Result<String, String> {
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> = headers.iter().filter_map(|header| header.to_str().ok()).collect();
        let mut asked = PasswordClient::try_from(&*challenges.join(", ")).map_err(|error| {
            format!("it asks for a password in a way that is not known: {error}")
        })?;
        let url = &address.0;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        asked.respond(&PasswordParams {
            username: &self.user,
            password: self.password.reveal(),
            uri: &format!("{}{query}", url.path()),
            method: method.as_str(),
            body: None,
        })
    }
}

impl Body {
    fn carried_by(&self, call: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nothing => call,
            Self::Text(text) => call.body(text.reveal().to_owned()),
            Self::Json(value) => call.json(value),
            Self::Form(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| (name, value.reveal())).collect();
                call.form(&fields)
            }
        }
    }
}

/// The error for an answer that is no success; `text` is what the device has to say about it.
fn refusal(what: &str, status: StatusCode, text: &str) -> DriverError {
    /// How much of the text is shown, in characters.
    const SHOWN: usize = 200;
    let mut message = format!("{what}: {status}");
    let text = text.trim();
    if !text.is_empty() {
        message.push_str(": ");
        message.extend(text.chars().take(SHOWN));
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            message.push_str("; check the user name and the password in its configuration");
            DriverError::PermissionDenied(message)
        }
        _ => DriverError::Device(message),
    }
}

async fn client() -> Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls::config(tls::host_roots().await?))
        // Small devices have few connections, and forget to close them.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| DriverError::Device(format!("the HTTP client can't be made: {error}")))
}

impl Address {
    /// The address of a device that is configured by its host alone, which may have a port.
    pub(crate) fn of_host(host: &str) -> Result<Self> {
        Self::try_from(format!("http://{host}/")).map_err(DriverError::InvalidArgument)
    }

    /// Another path on the same device, with a query.
    pub(crate) fn at(&self, path: &str, query: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().clear().extend_pairs(query);
        }
        Self(url)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let url = Url::parse(&text).map_err(|error| format!("'{text}' is not a URL: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self(url)),
            _ => Err(format!("'{text}' is not an http:// or https:// URL")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}{port}{}", self.0.scheme(), self.0.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A request that asks for something and carries nothing.
pub(crate) fn get(address: Address) -> Request {
    Request { method: Method::GET, address, login: None, body: Body::Nothing }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::http::Server;

    async fn asked(address: &str) -> Result<String> {
        let address = Address::try_from(address.to_owned()).unwrap();
        Http::new(Duration::from_millis(500)).send(get(address)).await
    }

    #[tokio::test]
    async fn failures_are_told_apart_and_show_no_secret() {
        let server = Server::start(|request| match &*request.target {
            "/denied?password=x" => (401, "log in first\n".into()),
            "/long" => (200, "x".repeat(LONGEST_ANSWER + 1)),
            _ => (500, String::new()),
        })
        .await;
        let base = format!("http://me:pw@{}", server.host());
        let error = asked(&format!("{base}/denied?password=x")).await.unwrap_err();
        assert!(matches!(error, DriverError::PermissionDenied(_)));
        assert_eq!(
            error.to_string(),
            format!(
                "GET http://{}/denied: 401 Unauthorized: log in first; \
                 check the user name and the password in its configuration",
                server.host()
            )
        );
        let error = asked(&format!("{base}/long")).await.unwrap_err();
        assert!(error.to_string().ends_with("the answer is longer than 1048576 bytes"), "{error}");
        let error = asked(&format!("{base}/broken")).await.unwrap_err();
        assert!(error.to_string().ends_with("/broken: 500 Internal Server Error"), "{error}");
    }

    #[tokio::test]
    async fn a_device_that_never_answers_times_out() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = asked(&format!("http://{}/", silent.local_addr().unwrap())).await.unwrap_err();
        assert!(matches!(error, DriverError::Timeout(_)), "{error}");
        let address = silent.local_addr().unwrap();
        drop(silent);
        let error = asked(&format!("http://{address}/")).await.unwrap_err();
        assert!(matches!(error, DriverError::Disconnected(_)), "{error}");
        assert!(error.to_string().contains("no connection: Connection refused"), "{error}");
    }

    #[test]
    fn only_web_addresses_are_taken() {
        let refused = |text: &str| Address::try_from(text.to_owned()).unwrap_err();
        assert_eq!(refused("ftp://pdu/"), "'ftp://pdu/' is not an http:// or https:// URL");
        assert_eq!(refused("pdu"), "'pdu' is not a URL: relative URL without a base");
        let address = Address::of_host("pdu:8080").unwrap();
        assert_eq!(address.at("/cm", &[("cmnd", "Power1 on")]).0.query(), Some("cmnd=Power1+on"));
        assert_eq!(address.to_string(), "http://pdu:8080/");
    }
}
