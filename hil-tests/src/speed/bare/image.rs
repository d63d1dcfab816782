//! An image at the bare server: a file without a name, which one thread writes or reads.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use exporter::wire::{FrameType, StreamRequest, StreamResponse};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::{Status, Streaming};

use crate::speed::measurements::CHUNK;

/// How many chunks may wait.
pub(super) const WAITING: usize = 8;

/// Where frames to a client go.
pub(super) type Replies = mpsc::Sender<Result<StreamResponse, Status>>;

/// Writes what the client sends to a new file.
pub(super) async fn receive(mut frames: Streaming<StreamRequest>) -> Result<File, Status> {
    let (chunks, mut received) = mpsc::channel::<Bytes>(WAITING);
    let writer = spawn_blocking(move || -> io::Result<File> {
        let mut file = tempfile::tempfile()?;
        while let Some(chunk) = received.blocking_recv() {
            file.write_all(&chunk)?;
        }
        Ok(file)
    });
    while let Some(frame) = frames.message().await? {
        if frame.frame_type() != FrameType::Data || chunks.send(frame.payload).await.is_err() {
            break;
        }
    }
    drop(chunks);
    let file = writer.await.map_err(|error| Status::internal(error.to_string()))?;
    Ok(file?)
}

/// Sends a file, or nothing if there is none, and the end.
pub(super) async fn send(image: Option<Arc<File>>, replies: Replies) -> Result<(), Status> {
    let reader = spawn_blocking(move || -> Result<(), Status> {
        let gone = |_| Status::cancelled("the client has gone");
        let mut position = 0;
        while let Some(file) = &image {
            let mut chunk = vec![0; CHUNK];
            let length = file.read_at(&mut chunk, position)?;
            if length == 0 {
                break;
            }
            chunk.truncate(length);
            position += length as u64;
            replies.blocking_send(Ok(frame(FrameType::Data, chunk.into()))).map_err(gone)?;
        }
        replies.blocking_send(Ok(frame(FrameType::Goaway, Bytes::new()))).map_err(gone)
    });
    reader.await.map_err(|error| Status::internal(error.to_string()))?
}

fn frame(frame_type: FrameType, payload: Bytes) -> StreamResponse {
    StreamResponse { payload, frame_type: frame_type.into() }
}
