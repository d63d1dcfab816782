//! Byte streams between clients and drivers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use drivers::{ByteStream, ChunkReader, ChunkWriter, DriverError};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use tracing::{Instrument as _, Span};

use super::admission::Permit;
use super::failure::status_of;
use super::frame;
use crate::activity::Doing;
use crate::wire::{StreamRequest, StreamResponse};

/// How long a device may take for what a client had sent before it hung up.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the client hears on a stream.
pub type Replies = BoxStream<'static, Result<StreamResponse, Status>>;

/// Connects a client's frames to a driver's stream.
///
/// The client's direction has a task of its own: a client that sends without reading must not get
/// stuck because nobody takes what the device has to say.
pub fn connect(
    device: ByteStream,
    frames: Streaming<StreamRequest>,
    permit: &Permit,
    tasks: &TaskTracker,
) -> Replies {
    let (finished, client_end) = oneshot::channel();
    let hang_up = CancellationToken::new();
    let hung_up = hang_up.clone();
    let (writer, period) = (device.writer, permit.period().clone());
    let client_direction = async move {
        let last_words = async {
            hung_up.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            end = to_device(writer, frames) => drop(finished.send(end)),
            // The device is for somebody else now.
            () = period.cancelled() => {}
            // The client no longer listens, and with it the frames end; but a device that is slow
            // to take them must not be held for ever.
            () = last_words => {}
        }
    };
    tasks.spawn(client_direction.in_current_span());
    let state = FromDevice::Open { reader: device.reader, client_end };
    let guard = hang_up.drop_guard();
    stream::unfold((state, guard), |(state, guard)| async move {
        let (reply, state) = state.next().await?;
        Some((reply, (state, guard)))
    })
    .boxed()
}

/// Carries the client's chunks to the device, until the client has sent its last.
async fn to_device(
    mut writer: Box<dyn ChunkWriter>,
    mut frames: Streaming<StreamRequest>,
) -> Result<(), DriverError> {
    // A broken stream is one whose client has gone, which ends the other direction as well.
    while let Ok(Some(message)) = frames.message().await {
        match frame::incoming(message) {
            frame::Incoming::Data(chunk) => writer.write(chunk).await?,
            frame::Incoming::Ignored => {}
            frame::Incoming::End => break,
        }
    }
    writer.finish().await?;
    // Until the client ends the stream itself, what it still sends has no meaning.
    while let Ok(Some(_)) = frames.message().await {}
    Ok(())
}

/// The direction from the device, and what has happened in the other.
enum FromDevice {
    Open {
        reader: Box<dyn ChunkReader>,
        client_end: oneshot::Receiver<Result<(), DriverError>>,
    },
    /// The device has sent its last chunk; the client has not.
    WaitingForClient(oneshot::Receiver<Result<(), DriverError>>),
    Closed,
}

type Reply = Result<StreamResponse, Status>;

impl FromDevice {
    async fn next(self) -> Option<(Reply, Self)> {
        match self {
            Self::Open { mut reader, mut client_end } => {
                let mut client_ended = client_end.is_terminated();
                loop {
                    tokio::select! {
                        biased;
                        chunk = reader.read() => return Some(match chunk {
                            Ok(Some(chunk)) => {
                                (Ok(frame::data(chunk)), Self::Open { reader, client_end })
                            }
                            Ok(None) => (Ok(frame::goaway()), Self::WaitingForClient(client_end)),
                            Err(error) => (Err(status_of(&error)), Self::Closed),
                        }),
                        end = &mut client_end, if !client_ended => match end {
                            Ok(Err(error)) => return Some((Err(status_of(&error)), Self::Closed)),
                            // A client that has finished still wants to hear the device.
                            Ok(Ok(())) | Err(_) => client_ended = true,
                        },
                    }
                }
            }
            Self::WaitingForClient(client_end) if client_end.is_terminated() => None,
            Self::WaitingForClient(client_end) => match client_end.await {
                Ok(Err(error)) => Some((Err(status_of(&error)), Self::Closed)),
                Ok(Ok(())) | Err(_) => None,
            },
            Self::Closed => None,
        }
    }
}

/// A stream that ends together with its permit and with the exporter, and says which.
#[expect(missing_debug_implementations, reason = "a future is opaque")]
pub struct Limited<S> {
    replies: S,
    over: Pin<Box<dyn Future<Output = Status> + Send>>,
    ended: bool,
    /// What is logged on the way belongs to the call.
    span: Span,
    /// Shows that it goes on.
    doing: Option<Doing>,
}

impl<S> Limited<S> {
    /// Limits `replies`.
    pub fn new(replies: S, permit: &Permit, serving: &CancellationToken, span: Span) -> Self {
        let (period, serving) = (permit.period().clone(), serving.clone());
        let over = Box::pin(async move {
            tokio::select! {
                () = period.cancelled_owned() => Permit::over(),
                () = serving.cancelled_owned() => {
                    Status::unavailable("the exporter is shutting down")
                }
            }
        });
        Self { replies, over, ended: false, span, doing: None }
    }

    /// The same; it goes on for as long as this does.
    pub fn with(self, doing: Doing) -> Self {
        Self { doing: Some(doing), ..self }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Limited<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let _entered = self.span.clone().entered();
        if let Poll::Ready(status) = self.over.as_mut().poll(context) {
            self.ended = true;
            self.doing = None;
            return Poll::Ready(Some(Err(status)));
        }
        self.replies.poll_next_unpin(context)
    }
}
