//! The web interface of a small device: HTTP/1.1 with one request a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a client asks.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path, with its query.
    pub(super) target: String,
    /// The lines after the first, as they were sent.
    headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header's value; `name` is in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.to_ascii_lowercase() == name).then(|| value.trim())
        })
    }
}

/// What it hears.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Answer {
    /// # Shape
    ///
    /// A status of HTTP, and a value of JSON.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string() }
    }

    /// A page for people.
    pub(super) fn page(status: u16, body: impl Into<String>) -> Self {
        Self { status, kind: "text/html", body: body.into() }
    }
}

/// Starts a web server; returns where it is.
pub(super) async fn serve(
    tasks: &mut JoinSet<()>,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a web interface")?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            connections.spawn(async move {
                let mut connection = BufReader::new(connection);
                let Ok(request) = receive(&mut connection).await else { return };
                // Whoever hangs up early doesn't hear the answer.
                send(&mut connection, answer(&request)).await.ok();
            });
        }
    });
    Ok(address)
}

async fn receive(connection: &mut BufReader<TcpStream>) -> std::io::Result<Request> {
    let mut first = String::new();
    connection.read_line(&mut first).await?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => request.headers.push(line.to_owned()),
        }
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut request.body).await?;
    Ok(request)
}

async fn send(connection: &mut BufReader<TcpStream>, answer: Answer) -> std::io::Result<()> {
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    connection.write_all(format!("{head}{body}").as_bytes()).await?;
    connection.shutdown().await
}
