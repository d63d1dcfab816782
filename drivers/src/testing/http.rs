//! A web server in place of a device.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that answers as long as it lives.
pub(crate) struct Server {
    host: String,
    _tasks: JoinSet<()>,
}

/// What a client has sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path and the query.
    pub(crate) target: String,
    /// Each header as `name: value`, in the client's order, with a name in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// What it answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Each as `name: value`.
    pub(crate) headers: Vec<String>,
    pub(crate) text: String,
}

impl From<(u16, String)> for Answer {
    fn from((status, text): (u16, String)) -> Self {
        Self { status, headers: Vec::new(), text }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        let headers = self.headers.iter().map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        });
        (status, HeaderMap::from_iter(headers), self.text).into_response()
    }
}

impl Server {
    /// Starts a server, which answers with a status and a text at least.
    pub(crate) async fn start<A: Into<Answer>>(
        answer: impl Fn(&Request) -> A + Clone + Send + Sync + 'static,
    ) -> Self {
        let page = async move |method: Method, uri: Uri, headers: HeaderMap, body: String| {
            let lines = headers.iter().map(|(name, value)| (name, value.to_str().unwrap()));
            let headers = lines.map(|(name, value)| format!("{name}: {value}")).collect();
            let (method, target) = (method.to_string(), uri.to_string());
            let answer: Answer = answer(&Request { method, target, headers, body }).into();
            answer
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, Router::new().fallback(page)).await.unwrap();
        });
        Self { host, _tasks: tasks }
    }

    /// Its address and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}
