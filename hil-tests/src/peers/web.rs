//! Web servers: those of small devices, and of whoever keeps images to flash.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Starts a web server, with one request a connection, as small devices have it; returns where it is.
pub(crate) async fn serve(tasks: &mut JoinSet<()>, pages: Router) -> Result<SocketAddr> {
    serve_on(0, tasks, pages).await
}

async fn serve_on(port: u16, tasks: &mut JoinSet<()>, pages: Router) -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("binding a web server")?;
    let address = listener.local_addr()?;
    let close = async |response: Response| ([(header::CONNECTION, "close")], response);
    let pages = pages.layer(map_response(close));
    tasks.spawn(async move {
        // It never ends by itself.
        axum::serve(listener, pages).await.ok();
    });
    Ok(address)
}

/// What is under a path.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// A file.
    File(Vec<u8>),
    /// A redirect with this `Location`.
    Redirect(String),
}

/// A running web server with images to flash.
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
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (pages, seen) = (Arc::new(pages), Arc::clone(&requests));
        let answer = async move |uri: Uri, headers: HeaderMap| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(head(&uri, &headers));
            page(&pages, uri.path())
        };
        let mut server = JoinSet::new();
        let address = serve_on(port, &mut server, Router::new().fallback(answer)).await?;
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

fn head(uri: &Uri, headers: &HeaderMap) -> String {
    let lines =
        headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())));
    let lines: String = lines.map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{uri}\n{lines}")
}

fn page(pages: &[(&'static str, Page)], path: &str) -> Response {
    match pages.iter().find(|(known, _)| *known == path) {
        Some((_, Page::File(content))) => content.clone().into_response(),
        Some((_, Page::Redirect(location))) => {
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
