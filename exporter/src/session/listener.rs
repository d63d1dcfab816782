//! The doors of an exporter: TCP, TLS and Unix sockets, all to the same services.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Uid, geteuid};
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::transport::Server;
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::admission::Origin;
use super::authority::AuthorityFilter;
use super::bench::Bench;
use super::connection::Connection;
use super::door::Guests;
use super::peer::Peer;
use super::service::Service;
use crate::secret::Secret;
use crate::wire::exporter_service_server::ExporterServiceServer;
use crate::wire::router_service_server::RouterServiceServer;
use crate::wire::transfer::{LONGEST_FRAME, make_room};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when the process has run out of something.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long calls may go on after the exporter has stopped serving.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// How often an idle connection is asked whether it is still there, and how long it may take to
/// answer: a client that has vanished without a word is noticed, and what it held is freed.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(40);

/// How many bytes may be under way on a stream and on a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Where connections come in.
#[expect(missing_debug_implementations, reason = "a TLS acceptor has none")]
pub enum Listener {
    /// Plain TCP.
    Tcp(TcpListener),
    /// TLS.
    Tls(TcpListener, TlsAcceptor),
    /// A Unix socket, for processes of the same user and of its guests.
    Unix(UnixListener, Guests),
    /// Connections that come by other ways, such as a router.
    Tunnels(mpsc::Receiver<Tunnel>),
}

/// A connection that has come by another way than a socket.
#[derive(Debug)]
pub struct Tunnel {
    /// Its bytes.
    pub stream: DuplexStream,
    /// Cancelled when the lease that it belongs to is over.
    pub over: CancellationToken,
}

/// Serves `bench` on `listener` until `stop`, and then a moment longer for calls under way.
pub async fn serve(
    listener: Listener,
    origin: Origin,
    bench: Arc<Bench>,
    passphrase: Option<Secret>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (sender, connections) = mpsc::channel(16);
    let door = Door { origin, bench: Arc::clone(&bench), sender };
    let accept = door.accept(listener);

    let guard = Guard { passphrase };
    let span = bench.span.clone();
    let service = Service::new(bench);
    let server = server()
        .add_service(ExporterServiceServer::with_interceptor(service.clone(), guard.clone()))
        .add_service(RouterServiceServer::with_interceptor(service, guard))
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
        never = accept.instrument(span) => match never {},
    }
}

/// A server with the transport settings of every door.
pub fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(LONGEST_FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .tcp_nodelay(true)
}

/// Accepts connections and passes them to the server.
#[derive(Clone)]
struct Door {
    origin: Origin,
    bench: Arc<Bench>,
    sender: mpsc::Sender<io::Result<Accepted>>,
}

impl Door {
    async fn accept(self, mut listener: Listener) -> std::convert::Infallible {
        loop {
            let accepted = self.accept_one(&mut listener).await;
            if let Err(error) = accepted {
                // Usually out of file descriptors; those who are connected go on.
                tracing::warn!("can't accept a connection: {error}");
                sleep(EXHAUSTED).await;
            }
        }
    }

    async fn accept_one(&self, listener: &mut Listener) -> io::Result<()> {
        match listener {
            Listener::Tcp(listener) => self.tcp(listener.accept().await?.0).await,
            Listener::Tls(listener, acceptor) => {
                self.tls(listener.accept().await?.0, acceptor.clone());
            }
            Listener::Unix(listener, guests) => {
                self.unix(listener.accept().await?.0, guests).await;
            }
            Listener::Tunnels(tunnels) => match tunnels.recv().await {
                Some(Tunnel { stream, over }) => self.admit(stream, over).await,
                None => std::future::pending().await,
            },
        }
        Ok(())
    }

    async fn tcp(&self, stream: TcpStream) {
        // Without it, small answers wait for the client's acknowledgements.
        stream.set_nodelay(true).ok();
        self.admit(stream, endless()).await;
    }

    /// Shakes hands in a task of its own: a slow client must not keep others out.
    fn tls(&self, stream: TcpStream, acceptor: TlsAcceptor) {
        stream.set_nodelay(true).ok();
        let door = self.clone();
        self.bench.tasks.spawn(async move {
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => door.admit(stream, endless()).await,
                Ok(Err(error)) => tracing::debug!("a TLS handshake has failed: {error}"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }

    async fn unix(&self, stream: UnixStream, guests: &Guests) {
        match stream.peer_cred().map(|peer| Uid::from_raw(peer.uid())) {
            Ok(peer) if peer == geteuid() || peer.is_root() || guests.include(peer) => {
                make_room(&stream);
                self.admit(stream, endless()).await;
            }
            Ok(peer) => tracing::warn!("user {peer} was refused at a private socket"),
            Err(error) => tracing::warn!("somebody was refused at a private socket: {error}"),
        }
    }

    async fn admit(&self, stream: impl Stream + 'static, over: CancellationToken) {
        let status = &self.bench.status;
        let viewer = match self.origin {
            Origin::Client => status.client(),
            Origin::Hook => status.viewer(),
        };
        let peer = Peer { origin: self.origin, viewer: Arc::new(viewer), over };
        let stream: Box<dyn Stream> = Box::new(stream);
        let connection = Connection { stream: AuthorityFilter::new(stream), peer, held: () };
        // An error means that the server has stopped.
        self.sender.send(Ok(connection)).await.ok();
    }
}

/// For a connection that no lease ends.
fn endless() -> CancellationToken {
    CancellationToken::new()
}

/// Asks for the passphrase, where there is one.
#[derive(Debug, Clone)]
struct Guard {
    passphrase: Option<Secret>,
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(passphrase) = &self.passphrase else { return Ok(request) };
        let given = request.metadata().get_all("x-jumpstarter-passphrase").iter().next_back();
        let given = given.map_or(&b""[..], |given| given.as_bytes());
        if bool::from(given.ct_eq(passphrase.reveal().as_bytes())) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("invalid or missing passphrase"))
        }
    }
}

/// A connection whose stream is of one kind, wherever it came in.
type Accepted = Connection<AuthorityFilter<Box<dyn Stream>>, Peer>;

/// Anything that bytes go through.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
