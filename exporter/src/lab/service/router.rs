//! RouterService: the connections of clients to the exporters that they have leased.
//!
//! There is no second party to wait for: the exporter is in this process, and a stream of frames is a
//! connection to it. What is cut, and when, follows from the lease: its end, after the last line was
//! delivered, or another client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::super::authentication::{Origin, Refusals, bearer_token};
use super::super::desk::Desk;
use super::super::refused::Refused;
use super::Reply;
use super::limits::in_the_controllers_code;
use super::tickets::{Ticket, Tickets};
use crate::session::frame::{self, Incoming};
use crate::session::listener::Tunnel;
use crate::wire::router_service_server::RouterService;
use crate::wire::{StreamRequest, StreamResponse};

/// How much of each direction may wait here.
const BUFFER: usize = 256 * 1024;

/// The largest chunk of a frame, as in the reference.
const CHUNK: usize = 64 * 1024;

/// How many connections a client may have at a time.
const CONNECTIONS: usize = 512;

/// How long the exporter may take for the last words of a client that has hung up.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Connects clients to exporters.
#[derive(Debug, Clone)]
pub struct Router {
    /// Where the exporters are.
    pub desk: Desk,
    /// What clients connect with.
    pub tickets: Arc<Mutex<Tickets>>,
    /// What was refused.
    pub refusals: Arc<Refusals>,
    /// How many connections each client has.
    pub connections: Arc<Mutex<HashMap<String, usize>>>,
}

#[tonic::async_trait]
impl RouterService for Router {
    type StreamStream = BoxStream<'static, Result<StreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Reply<Self::StreamStream> {
        let origin = Origin::of(&request);
        let ticket = self.redeem(&request).inspect_err(|status| {
            self.refusals.note("router", origin, status);
        })?;
        let counted = self.count(&ticket.client)?;
        let place = self.desk.places().get(&ticket.exporter).ok_or(Refused::Offline)?;
        let tenure = place.open_for(&ticket.lease).await?;
        let (near, far) = duplex(BUFFER);
        let tunnel = Tunnel { stream: far, over: tenure.over.clone() };
        place.tunnels.send(tunnel).await.map_err(|_| Refused::Offline)?;
        let (reader, writer) = split(near);
        let hang_up = CancellationToken::new();
        let (break_off, broken) = oneshot::channel();
        let inward = inward(request.into_inner(), writer, hang_up.clone(), break_off);
        let cut = CancellationToken::new();
        let taken = cut.clone();
        let over = tenure.over.clone();
        // What owns the connections of a lease waits for them when it is over.
        tenure.connections.spawn(async move {
            tokio::select! {
                () = inward => {}
                () = over.cancelled() => {}
                () = place.taken_from(&ticket.client, &ticket.lease) => taken.cancel(),
            }
        });
        let hang_up = hang_up.drop_guard();
        let state = Outward { reader, broken, hang_up, _counted: counted };
        let ended = async move {
            tokio::select! {
                () = tenure.over.cancelled_owned() => {}
                () = cut.cancelled_owned() => {}
            }
        };
        Ok(Response::new(outward(state).take_until(ended).boxed()))
    }
}

impl Router {
    /// What a stream's token is for.
    fn redeem<T>(&self, request: &Request<T>) -> Result<Ticket, Status> {
        let token = bearer_token(request.metadata()).map_err(|status| {
            let reason = status.message();
            Status::unauthenticated(format!("missing or invalid authorization: {reason}"))
        })?;
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = tickets.redeem(token, Instant::now());
        ticket.ok_or_else(|| Status::unauthenticated("invalid jwt token"))
    }

    fn count(&self, client: &str) -> Result<Counted, Refused> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(client.into()).or_default();
        if *count >= CONNECTIONS {
            let what = "connections";
            return Err(Refused::TooMany { client: client.into(), count: *count, what });
        }
        *count += 1;
        Ok(Counted { client: client.into(), connections: Arc::clone(&self.connections) })
    }
}

/// One connection of a client, until it is dropped.
#[derive(Debug)]
struct Counted {
    client: String,
    connections: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.client);
            }
        }
    }
}

/// From the client to the exporter, until the client has finished or is gone.
async fn inward(
    mut frames: Streaming<StreamRequest>,
    mut writer: WriteHalf<DuplexStream>,
    hang_up: CancellationToken,
    break_off: oneshot::Sender<Status>,
) {
    let carry = async {
        loop {
            match frames.message().await {
                Ok(Some(message)) => match frame::incoming(message) {
                    Incoming::Data(chunk) => {
                        if writer.write_all(&chunk).await.is_err() {
                            break;
                        }
                    }
                    Incoming::Ignored => {}
                    Incoming::End => break,
                },
                Ok(None) => break,
                // It is gone, or has sent what can't be taken; then it is told.
                Err(status) => {
                    break_off.send(in_the_controllers_code(status)).ok();
                    break;
                }
            }
        }
        // It fails if the exporter has hung up already.
        writer.shutdown().await.ok();
    };
    let last_words = async {
        hang_up.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = carry => {}
        () = last_words => {}
    }
}

/// What the direction to the client needs; dropped with it.
struct Outward {
    reader: ReadHalf<DuplexStream>,
    broken: oneshot::Receiver<Status>,
    hang_up: DropGuard,
    _counted: Counted,
}

/// From the exporter to the client. The last frame says that it is the last.
fn outward(state: Outward) -> impl Stream<Item = Result<StreamResponse, Status>> {
    stream::unfold(Some(state), |state| async {
        let mut state = state?;
        let mut chunk = BytesMut::with_capacity(CHUNK);
        tokio::select! {
            Ok(status) = &mut state.broken, if !state.broken.is_terminated() => {
                Some((Err(status), None))
            }
            read = state.reader.read_buf(&mut chunk) => match read {
                Ok(0) | Err(_) => {
                    state.hang_up.disarm();
                    Some((Ok(frame::goaway()), None))
                }
                Ok(_) => Some((Ok(frame::data(chunk.freeze())), Some(state))),
            },
        }
    })
}
