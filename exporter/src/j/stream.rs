//! Byte streams: frames to and from a device or a resource.

use std::future;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::wire::{FrameType, StreamRequest, StreamResponse};

/// An open stream, one end a direction.
#[derive(Debug)]
pub(crate) struct ByteStream {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
}

/// The direction to the exporter.
#[derive(Debug)]
pub(crate) struct Outgoing(mpsc::Sender<StreamRequest>);

/// The direction from the exporter.
#[derive(Debug)]
pub(crate) struct Incoming(Streaming<StreamResponse>);

/// The exporter does not take any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// The sender's end, and the frames for the request.
///
/// The frames end only after [`Outgoing::finish`]. An `Outgoing` that is dropped before leaves them
/// pending: to end them would tell the driver that it has all the data, and it would flash what it
/// got.
pub(crate) fn outgoing() -> (Outgoing, impl Stream<Item = StreamRequest> + Send + 'static) {
    // One frame waits while one is being sent. More would only be more memory.
    let (tx, rx) = mpsc::channel(1);
    let frames = stream::unfold(Some(rx), |rx: Option<mpsc::Receiver<StreamRequest>>| async {
        let mut rx = rx?;
        let Some(frame) = rx.recv().await else { return future::pending().await };
        let rest = (frame.frame_type() != FrameType::Goaway).then_some(rx);
        Some((frame, rest))
    });
    (Outgoing(tx), frames)
}

impl Outgoing {
    /// Sends a chunk, as soon as there is room for it.
    pub(crate) async fn send(&self, payload: Bytes) -> Result<(), Closed> {
        let frame = StreamRequest { payload, frame_type: FrameType::Data.into() };
        self.0.send(frame).await.map_err(|_| Closed)
    }

    /// Says that there is no more to come. If the exporter has gone by now, it knows.
    pub(crate) async fn finish(self) {
        let frame = StreamRequest { payload: Bytes::new(), frame_type: FrameType::Goaway.into() };
        self.0.send(frame).await.ok();
    }
}

impl Incoming {
    /// The frames of a response.
    pub(crate) fn new(frames: Streaming<StreamResponse>) -> Self {
        Self(frames)
    }

    /// The next chunk; `None` when the exporter has no more.
    ///
    /// # Errors
    ///
    /// The exporter ended the stream in the middle, or the connection is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while let Some(frame) = self.0.message().await? {
            match FrameType::try_from(frame.frame_type) {
                Ok(FrameType::Data) if frame.payload.is_empty() => {}
                Ok(FrameType::Data) => return Ok(Some(frame.payload)),
                Ok(FrameType::Goaway) => return Ok(None),
                // What a later protocol adds is no data.
                Ok(FrameType::Ping | FrameType::RstStream) | Err(_) => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn frames_end_after_goaway() {
        let (outgoing, frames) = outgoing();
        let sent = async {
            outgoing.send(Bytes::from_static(b"x")).await.unwrap();
            outgoing.finish().await;
        };
        let ((), frames) = tokio::join!(sent, frames.collect::<Vec<_>>());
        let types: Vec<_> = frames.iter().map(StreamRequest::frame_type).collect();
        assert_eq!(types, [FrameType::Data, FrameType::Goaway]);
    }

    #[tokio::test]
    async fn frames_that_were_cut_off_never_end() {
        let (outgoing, frames) = outgoing();
        let mut frames = pin!(frames);
        outgoing.send(Bytes::from_static(b"x")).await.unwrap();
        drop(outgoing);
        assert!(frames.next().await.is_some());
        assert_eq!(frames.next().now_or_never(), None);
    }
}
