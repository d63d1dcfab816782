//! The lab's port: TLS, with gRPC and HTTP behind it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use super::authentication::Origin;
use super::service::{Authority, limits};
use crate::session::connection::Connection;
use crate::session::listener::server;

/// A connection with its place among those that there may be.
type Accepted = Connection<TlsStream<TcpStream>, Origin, OwnedSemaphorePermit>;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when the process has run out of something.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How many connections there may be, and how many calls on each.
const CONNECTIONS: usize = 8_192;
const CALLS: u32 = 256;

/// How long calls may go on after the lab has stopped serving.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Serves `router` until `stop`, and then a moment longer for calls under way.
pub async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (sender, connections) = mpsc::channel(16);
    let port = listener.local_addr().map_or(0, |address| address.port());
    let router = router.layer(from_fn(move |request, next| told(request, next, port)));
    let server = server()
        .accept_http1(true)
        .max_concurrent_streams(CALLS)
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            stop.clone().cancelled_owned(),
        );
    let last_calls = async {
        stop.cancelled().await;
        sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = server => served,
        () = last_calls => Ok(()),
        never = accept(listener, acceptor, sender, tasks) => match never {},
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<io::Result<Accepted>>,
    tasks: &TaskTracker,
) -> std::convert::Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Whoever comes when all are taken waits in the kernel's queue.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                stream.set_nodelay(true).ok();
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                // A slow client must not keep others out.
                tasks.spawn(async move {
                    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            let origin = Origin(Some(plain(peer.ip())));
                            let connection = Connection { stream, peer: origin, held: place };
                            // An error means that the server has stopped.
                            sender.send(Ok(connection)).await.ok();
                        }
                        Ok(Err(error)) => tracing::debug!("a TLS handshake has failed: {error}"),
                        Err(_) => tracing::debug!("a TLS handshake took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!("can't accept a connection: {error}");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Tells the services how their client has reached the lab, and mends what they answer.
async fn told(mut request: Request, next: Next, port: u16) -> Response {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host);
    if let Some(authority) = authority {
        let authority = with_port(authority, port);
        request.extensions_mut().insert(Authority(authority));
    }
    if let Some(origin) = request.extensions().get::<Origin>().copied() {
        request.extensions_mut().insert(origin);
    }
    let mut response = next.run(request).await;
    limits::mend(response.headers_mut());
    response
}

/// Clients leave out the port where it is the usual one.
fn with_port(authority: &str, port: u16) -> String {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if after_host.contains(':') { authority.into() } else { format!("{authority}:{port}") }
}

/// An IPv4 address that has come as an IPv6 one.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_port() {
        for (told, whole) in [
            ("lab:8082", "lab:8082"),
            ("lab", "lab:443"),
            ("[::1]", "[::1]:443"),
            ("[::1]:8082", "[::1]:8082"),
        ] {
            assert_eq!(with_port(told, 443), whole);
        }
    }
}
