//! Resources that the exporter fetches and stores itself, over HTTP.

use std::collections::BTreeMap;

use exporter::session::handle::PresignedRequest;
use exporter::session::presigned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// An HTTP server that answers each request with the next of these, and remembers what it was
/// asked. `$HOST` in an answer is its own address.
struct Server {
    address: String,
    requests: JoinSet<String>,
}

impl Server {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<_> =
            answers.iter().map(|answer| answer.replace("$HOST", &address)).collect();
        let mut requests = JoinSet::new();
        requests.spawn(async move {
            let mut asked = String::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut reader = BufReader::new(&mut stream);
                let mut chunked = false;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).await.unwrap();
                    chunked |= line.to_lowercase().contains("transfer-encoding: chunked");
                    asked.push_str(&line);
                    if line == "\r\n" {
                        break;
                    }
                }
                while chunked && !asked.ends_with("0\r\n\r\n") {
                    let mut byte = [0];
                    reader.read_exact(&mut byte).await.unwrap();
                    asked.push(byte[0] as char);
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        Self { address, requests }
    }

    async fn asked(mut self) -> String {
        self.requests.join_next().await.unwrap().unwrap()
    }

    fn request(&self, method: &str, path: &str) -> PresignedRequest {
        PresignedRequest {
            url: format!("http://{}{path}", self.address),
            method: method.into(),
            headers: BTreeMap::from([("X-Amz-Token".to_owned(), "t0k3n".to_owned())]),
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nimage";

async fn get(request: &PresignedRequest) -> Result<String, String> {
    let mut source = presigned::source(request).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    source.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    Ok(text)
}

#[tokio::test]
async fn a_download_follows_redirects_relative_ones_too() {
    let moved = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /moved%20here?a=%2F\r\n\r\n";
    let server = Server::start(&[moved, OK]).await;
    assert_eq!(get(&server.request("GET", "/image?X=%2B")).await, Ok("image".into()));
    let asked = server.asked().await;
    assert!(asked.starts_with("GET /image?X=%2B HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("GET /moved%20here?a=%2F HTTP/1.1\r\n"), "{asked}");
    assert_eq!(asked.matches("x-amz-token: t0k3n").count(), 2);
}

#[tokio::test]
async fn the_secret_does_not_follow_to_another_host() {
    let other = Server::start(&[OK]).await;
    let moved = format!(
        "HTTP/1.1 307 Moved\r\nConnection: close\r\nContent-Length: 0\r\nLocation: http://{}/x\r\n\r\n",
        other.address
    );
    let server = Server::start(&[&moved]).await;
    assert_eq!(get(&server.request("GET", "/image")).await, Ok("image".into()));
    assert!(server.asked().await.contains("x-amz-token"));
    assert!(!other.asked().await.contains("x-amz-token"));
}

#[tokio::test]
async fn what_is_not_there_is_none_where_that_is_allowed() {
    const MISSING: [u16; 4] = [401, 403, 404, 410];
    let answers = MISSING.map(|status| {
        format!("HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    });
    let broken = "HTTP/1.1 500 -\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned();
    let answers: Vec<_> = answers.into_iter().chain([OK.to_owned(), broken]).collect();
    let server = Server::start(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let request = server.request("GET", "/a.bmap");
    for status in MISSING {
        assert!(presigned::source_if_any(&request).await.unwrap().is_none(), "{status}");
    }
    assert!(presigned::source_if_any(&request).await.unwrap().is_some());
    let error = presigned::source_if_any(&request).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("status=500"), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_secret() {
    let refused = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(&[refused]).await;
    let request = server.request("GET", "/image?sig=s3cr3t");
    let error = get(&request).await.unwrap_err();
    let url = format!("http://{}/image?[REDACTED]", server.address);
    assert_eq!(
        error,
        format!("Presigned HTTP GET request failed: status=403, reason='Forbidden', url={url}")
    );

    let lost = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(&[lost]).await;
    let error = get(&server.request("GET", "/image?sig=s3cr3t")).await.unwrap_err();
    assert!(
        error.starts_with("Presigned HTTP GET redirect missing Location header for "),
        "{error}"
    );

    let around =
        "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /again\r\n\r\n";
    let server = Server::start(&[around; 11]).await;
    let error = get(&server.request("GET", "/image")).await.unwrap_err();
    assert!(error.starts_with("Too many redirects (10) for "), "{error}");

    let short = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\nimage";
    let server = Server::start(&[short]).await;
    let error = get(&server.request("GET", "/image?sig=s3cr3t")).await.unwrap_err();
    assert!(error.starts_with("Presigned HTTP GET stream interrupted for "), "{error}");
    assert!(!error.contains("s3cr3t"));

    let error = get(&server_less("GET", "ftp://host/x")).await.unwrap_err();
    assert_eq!(error, "'ftp://host/x' is not an http or https URL");
    let error = get(&server_less("DELETE", "http://host/x")).await.unwrap_err();
    assert_eq!(error, "a presigned request for this call has to be a GET, not a DELETE");
    let error = get(&server_less("GET", "http://127.0.0.1:1/x?sig=s3cr3t")).await.unwrap_err();
    assert!(error.starts_with("Presigned HTTP GET stream failed (connection/read error) for "));
    assert!(!error.contains("s3cr3t"), "{error}");
}

fn server_less(method: &str, url: &str) -> PresignedRequest {
    PresignedRequest { url: url.into(), method: method.into(), headers: BTreeMap::new() }
}

#[tokio::test]
async fn an_upload_waits_for_the_answer() {
    let stored = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(&[stored]).await;
    let mut sink = presigned::sink(&server.request("PUT", "/dump")).unwrap();
    sink.write_all(b"dump").await.unwrap();
    sink.shutdown().await.unwrap();
    let asked = server.asked().await;
    assert!(
        asked.starts_with("PUT /dump HTTP/1.1\r\n") && asked.contains("dump\r\n0\r\n"),
        "{asked}"
    );

    let full =
        "HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(&[full]).await;
    let mut sink = presigned::sink(&server.request("PUT", "/dump")).unwrap();
    sink.write_all(b"dump").await.unwrap();
    let error = sink.shutdown().await.unwrap_err().to_string();
    assert!(error.contains("status=507"), "{error}");
}
