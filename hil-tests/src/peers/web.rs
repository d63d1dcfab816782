//! A web server with images to flash: enough of HTTP/1.1 to answer GET requests, one a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is under a path.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// A file.
    File(Vec<u8>),
    /// A redirect with this `Location`.
    Redirect(String),
}

/// A running web server.
#[derive(Debug)]
pub(crate) struct Web {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Web {
    /// Serves these pages, by path; every other path is 404.
    pub(crate) async fn serve(pages: Vec<(&'static str, Page)>) -> Result<Self> {
        Self::serve_on(0, pages).await
    }

    /// The same on a port that the pages already name.
    pub(crate) async fn serve_on(port: u16, pages: Vec<(&'static str, Page)>) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("binding a web server")?;
        let address = listener.local_addr()?;
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (pages, seen) = (Arc::new(pages), Arc::clone(&requests));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(answer(connection, Arc::clone(&pages), Arc::clone(&seen)));
            }
        });
        Ok(Self { address, requests, _server: server })
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(
    mut connection: TcpStream,
    pages: Arc<Vec<(&'static str, Page)>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let page = pages.iter().find(|(known, _)| *known == path).map(|(_, page)| page);
    let (status, body) = match page {
        Some(Page::File(content)) => ("200 OK".to_owned(), content.as_slice()),
        Some(Page::Redirect(location)) => (format!("302 Found\r\nLocation: {location}"), &b""[..]),
        None => ("404 Not Found".to_owned(), &b""[..]),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that hangs up early is the case's business.
    connection.write_all(head.as_bytes()).await.ok();
    connection.write_all(body).await.ok();
}
