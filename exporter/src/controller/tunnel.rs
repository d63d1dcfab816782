//! One client's connection, through a router.
//!
//! The router passes frames on as they are and knows nothing of either end. So each end says itself
//! that it has finished, and a stream whose client never comes waits for it and holds nothing: the
//! bench sees a connection only when its first bytes are there.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::DuplexStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::contact::{Contact, Router};
use super::outage::reason;
use crate::backoff::Backoff;
use crate::session::listener::Tunnel;
use crate::wire::{FrameType, ListenResponse, StreamRequest, StreamResponse};

/// How much of each direction may wait here: two chunks.
const BUFFER: usize = 128 * 1024;

/// The largest chunk of a frame, as in the reference.
const CHUNK: usize = 64 * 1024;

/// How many frames may wait for the router.
const FRAMES: usize = 2;

/// How long one end may take to finish when the other has.
const PARTING: Duration = Duration::from_secs(10);

/// The same, when the lease is over.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// For how long a router that can't be reached is tried again: the client gives up as well.
const PATIENCE: Duration = Duration::from_secs(300);

/// A client that has dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    /// When that was heard.
    pub(super) at: Instant,
    /// Where it is to be met.
    pub(super) dial: ListenResponse,
    /// Cancelled with its lease.
    pub(super) over: CancellationToken,
}

/// Carries a client's connection to the bench until one of them has finished, or the lease is over.
/// What goes wrong concerns nobody else.
pub(super) async fn carry(contact: Contact, dialled: Dialled, tunnels: mpsc::Sender<Tunnel>) {
    let Dialled { at, dial, over } = dialled;
    let ListenResponse { router_endpoint, router_token } = dial;
    let router = match contact.router(&router_endpoint, &router_token) {
        Ok(router) => router,
        Err(error) => {
            tracing::warn!("a client can't be met at the router {router_endpoint}: {error}");
            return;
        }
    };
    let mut backoff = Backoff::new(contact.settings.options.pace);
    while let Err(Failure { is_lone, status }) = meet(router.clone(), &over, &tunnels).await {
        let is_worth_a_try = match status.code() {
            Code::Unavailable | Code::Unknown | Code::Internal => {
                is_lone && at.elapsed() < PATIENCE
            }
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => false,
        };
        let reason = reason(&status);
        if !is_worth_a_try {
            tracing::info!("a connection through the router {router_endpoint} has ended: {reason}");
            return;
        }
        tracing::debug!("no way through the router {router_endpoint} yet: {reason}");
        if over.run_until_cancelled(backoff.wait()).await.is_none() {
            return;
        }
    }
}

/// Why a connection has ended.
struct Failure {
    /// Nothing had come from the client.
    is_lone: bool,
    status: Status,
}

async fn meet(
    mut router: Router,
    over: &CancellationToken,
    tunnels: &mpsc::Sender<Tunnel>,
) -> Result<(), Failure> {
    let (outbound, frames) = mpsc::channel(FRAMES);
    let first = async {
        let mut replies = router.stream(ReceiverStream::new(frames)).await?.into_inner();
        let first = replies.message().await?;
        Ok((replies, first))
    };
    tokio::pin!(first);
    let met = tokio::select! {
        met = &mut first => met,
        () = over.cancelled() => {
            // Nobody has come, and nobody will.
            outbound.try_send(goaway()).ok();
            drop(outbound);
            timeout(LAST_MOMENT, first).await.map(drop).ok();
            return Ok(());
        }
    };
    let (replies, first) = met.map_err(|status| Failure { is_lone: true, status })?;
    let Some(first) = first else { return Ok(()) };
    let (near, far) = duplex(BUFFER);
    if tunnels.send(Tunnel { stream: far, over: over.clone() }).await.is_err() {
        return Ok(());
    }
    let (reader, writer) = split(near);
    let (outward, inward) = (outward(reader, outbound, over), inward(replies, first, writer, over));
    tokio::pin!(outward);
    tokio::pin!(inward);
    let ended = tokio::select! {
        ended = &mut inward => {
            if ended.is_ok() {
                timeout(PARTING, outward).await.ok();
            }
            ended
        }
        () = &mut outward => timeout(PARTING, inward).await.unwrap_or(Ok(())),
    };
    ended.map_err(|status| Failure { is_lone: false, status })
}

/// From the bench to the client. The router takes no more than the client does.
async fn outward(
    mut reader: ReadHalf<DuplexStream>,
    outbound: mpsc::Sender<StreamRequest>,
    over: &CancellationToken,
) {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = tokio::select! {
            biased;
            () = over.cancelled() => break,
            read = reader.read_buf(&mut chunk) => read,
        };
        if !matches!(read, Ok(1..)) {
            break;
        }
        let frame = StreamRequest { payload: chunk.freeze(), frame_type: FrameType::Data.into() };
        match over.run_until_cancelled(outbound.send(frame)).await {
            Some(Ok(())) => {}
            // The stream has ended.
            Some(Err(_)) => return,
            None => break,
        }
    }
    timeout(LAST_MOMENT, outbound.send(goaway())).await.map(drop).ok();
}

/// From the client to the bench, which is asked for no more than it takes.
async fn inward(
    mut replies: Streaming<StreamResponse>,
    first: StreamResponse,
    mut writer: WriteHalf<DuplexStream>,
    over: &CancellationToken,
) -> Result<(), Status> {
    let mut next = Some(first);
    while let Some(frame) = next {
        match FrameType::try_from(frame.frame_type) {
            Ok(FrameType::Data) => {
                let write = writer.write_all(&frame.payload);
                match over.run_until_cancelled(write).await {
                    Some(Ok(())) => {}
                    // The bench has finished with this connection.
                    Some(Err(_)) => return Ok(()),
                    None => break,
                }
            }
            Ok(FrameType::Goaway) => break,
            Ok(FrameType::RstStream | FrameType::Ping) | Err(_) => {}
        }
        next = match over.run_until_cancelled(replies.message()).await {
            Some(message) => message?,
            None => None,
        };
    }
    // An error means that the bench has finished first.
    writer.shutdown().await.ok();
    // Until the call is over: if it were dropped, our own last frames would be lost.
    let limit = if over.is_cancelled() { LAST_MOMENT } else { PARTING };
    timeout(limit, async { while let Ok(Some(_)) = replies.message().await {} }).await.ok();
    Ok(())
}

/// The frame that says that no more chunks will come.
fn goaway() -> StreamRequest {
    StreamRequest { payload: Bytes::new(), frame_type: FrameType::Goaway.into() }
}
