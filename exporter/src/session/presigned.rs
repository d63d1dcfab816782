//! Resources in an object store, which the exporter downloads or uploads itself.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use drivers::{DriverError, Result, Sink, Source};
use futures_util::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Body, Client, Method, Response, StatusCode, Url, redirect};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;

use super::handle::PresignedRequest;

/// How long a whole transfer may take. The reference's limit.
const LIMIT: Duration = Duration::from_secs(7200);

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// How long a chunk of an upload may be, in bytes, and how many may wait.
const CHUNK: usize = 256 * 1024;
const WAITING_CHUNKS: usize = 4;

/// Downloads what the request leads to.
pub async fn source(request: &PresignedRequest) -> Result<Source> {
    let response = get(request).await?;
    checked(request, response).map(|response| body(request, response))
}

/// Downloads what the request leads to; none if there is nothing.
pub async fn source_if_any(request: &PresignedRequest) -> Result<Option<Source>> {
    let response = get(request).await?;
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
        // Some stores don't tell whether there is what one may not see.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        _ => checked(request, response).map(|response| Some(body(request, response))),
    }
}

/// What a response brings, as it comes.
fn body(request: &PresignedRequest, response: Response) -> Source {
    let interrupted = format!("Presigned HTTP GET stream interrupted for {}", request.shown_url());
    let bytes = response
        .bytes_stream()
        .map(move |chunk| chunk.map_err(|error| io_error(&interrupted, &error)));
    Box::pin(StreamReader::new(bytes))
}

/// Uploads what is written. Shutting the sink down waits for the store's answer.
pub fn sink(request: &PresignedRequest) -> Result<Sink> {
    expect_method(request, &Method::PUT)?;
    let url = parse_url(request)?;
    let (sender, chunks) = mpsc::channel::<io::Result<Bytes>>(WAITING_CHUNKS);
    let upload = client()?
        .put(url)
        .headers(headers(request)?)
        .timeout(LIMIT)
        .body(Body::wrap_stream(ReceiverStream::new(chunks)));
    let request = request.clone();
    let answer = Box::pin(async move {
        let response = upload.send().await.map_err(|error| send_error(&request, &error))?;
        checked(&request, response).map(drop)
    });
    Ok(Box::pin(Upload { sender: PollSender::new(sender), answer: Some(answer) }))
}

fn expect_method(request: &PresignedRequest, expected: &Method) -> Result<()> {
    if request.method != expected.as_str() {
        return Err(DriverError::InvalidArgument(format!(
            "a presigned request for this call has to be a {expected}, not a {}",
            request.method
        )));
    }
    Ok(())
}

/// Made when it is first needed: most exporters never are.
fn client() -> Result<&'static Client> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    crate::tls::install_crypto();
    // Redirects are followed by hand, because the secret must not follow them everywhere.
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| DriverError::Device(format!("can't make an HTTP client: {error}")))?;
    Ok(CLIENT.get_or_init(|| client))
}

/// Asks, and follows redirects. What comes may be an error.
async fn get(request: &PresignedRequest) -> Result<Response> {
    expect_method(request, &Method::GET)?;
    let mut url = parse_url(request)?;
    let mut headers = headers(request)?;
    for _ in 0..=MOST_REDIRECTS {
        let response = client()?
            .get(url.clone())
            .headers(headers.clone())
            .timeout(LIMIT)
            .send()
            .await
            .map_err(|error| send_error(request, &error))?;
        if !is_followed(response.status()) {
            return Ok(response);
        }
        let target = redirect_target(&url, &response).ok_or_else(|| {
            DriverError::Device(format!(
                "Presigned HTTP GET redirect missing Location header for {}",
                request.shown_url()
            ))
        })?;
        if target.origin() != url.origin() {
            drop_secrets(&mut headers);
        }
        url = target;
    }
    let shown = request.shown_url();
    Err(DriverError::Device(format!("Too many redirects ({MOST_REDIRECTS}) for {shown}")))
}

fn is_followed(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(from: &Url, response: &Response) -> Option<Url> {
    from.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// Removes what authorizes a request at its own host only.
fn drop_secrets(headers: &mut HeaderMap) {
    const SECRETS: [&str; 6] =
        ["authorization", "cookie", "proxy-authorization", "x-amz-", "x-ms-", "x-goog-"];
    let secret = |name: &HeaderName| SECRETS.iter().any(|prefix| name.as_str().starts_with(prefix));
    let names: Vec<_> = headers.keys().filter(|name| secret(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn checked(request: &PresignedRequest, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(DriverError::Device(format!(
        "Presigned HTTP {} request failed: status={}, reason='{}', url={}",
        request.method,
        status.as_u16(),
        status.canonical_reason().unwrap_or(""),
        request.shown_url()
    )))
}

fn parse_url(request: &PresignedRequest) -> Result<Url> {
    match Url::parse(&request.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) | Err(_) => Err(DriverError::InvalidArgument(format!(
            "'{}' is not an http or https URL",
            request.shown_url()
        ))),
    }
}

fn headers(request: &PresignedRequest) -> Result<HeaderMap> {
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    request
        .headers
        .iter()
        .map(|pair| {
            header(pair).ok_or_else(|| {
                DriverError::InvalidArgument(format!("'{}' can't be sent as a header", pair.0))
            })
        })
        .collect()
}

fn send_error(request: &PresignedRequest, error: &reqwest::Error) -> DriverError {
    let (method, url) = (&request.method, request.shown_url());
    if error.is_timeout() {
        let seconds = LIMIT.as_secs();
        return DriverError::Timeout(format!(
            "Presigned HTTP {method} request timed out after {seconds}s for {url}"
        ));
    }
    let reason = cause(error);
    DriverError::Device(format!(
        "Presigned HTTP {method} stream failed (connection/read error) for {url}: {reason}"
    ))
}

fn io_error(context: &str, error: &reqwest::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("{context}: {}", cause(error)))
}

/// The innermost reason; the outer ones repeat the URL, which is a secret.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// An upload under way. The request makes progress only while it is written to.
struct Upload {
    sender: PollSender<io::Result<Bytes>>,
    /// None once it has come.
    answer: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
}

impl Upload {
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(answer) = self.answer.as_mut() else { return Poll::Ready(Ok(())) };
        let result = ready!(answer.as_mut().poll(context));
        self.answer = None;
        Poll::Ready(result.map_err(io::Error::other))
    }
}

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let early = || io::Error::other("the store has answered before it had everything");
        if let Poll::Ready(result) = self.poll_answer(context) {
            return Poll::Ready(Err(result.err().unwrap_or_else(early)));
        }
        ready!(self.sender.poll_reserve(context)).map_err(|_| early())?;
        let length = bytes.len().min(CHUNK);
        let chunk = Bytes::copy_from_slice(&bytes[..length]);
        self.sender.send_item(Ok(chunk)).map_err(|_| early())?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.close();
        self.poll_answer(context)
    }
}
