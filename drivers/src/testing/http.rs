//! A web server in place of a device.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
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

impl Server {
    /// Starts a server, which answers with a status and a text at least.
    pub(crate) async fn start<A: Into<Answer>>(
        answer: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> Self {
        let answer = move |request: &Request| answer(request).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                connections.spawn(async move { serve(connection, &*answer).await });
            }
        });
        Self { host, _tasks: tasks }
    }

    /// Its address and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

async fn serve(connection: TcpStream, answer: &(dyn Fn(&Request) -> Answer + Sync)) {
    let mut connection = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        // A client may leave at any time.
        if !matches!(connection.read_line(&mut line).await, Ok(1..)) {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let first = lines.remove(0);
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let Answer { status, mut headers, text } =
        answer(&Request { method, target, headers: lines, body });
    headers.push(format!("content-length: {}", text.len()));
    headers.push("connection: close".to_owned());
    let head = format!("HTTP/1.1 {status} x\r\n{}\r\n\r\n", headers.join("\r\n"));
    // The client may have seen enough.
    connection.write_all(format!("{head}{text}").as_bytes()).await.ok();
}
