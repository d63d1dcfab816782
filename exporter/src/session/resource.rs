//! What clients lend to drivers: a file to read from or to write to.
//!
//! A client opens a stream, is told the id of a resource, and names it in a driver call. Until a
//! driver claims it, the resource waits here; its frames wait in the connection's flow control.
//!
//! A client that has lent something waits until both directions of its stream are done, so each
//! resource ends with a GOAWAY to the client and with reading whatever the client still sends.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use drivers::encoding;
use drivers::{DriverError, Result, Sink, Source};
use futures_util::Stream;
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::frame;
use super::handle::Handle;
use super::presigned;
use crate::wire::transfer::CHUNK;
use crate::wire::{StreamRequest, StreamResponse};

/// How many frames may wait for a slow client.
const WAITING_FRAMES: usize = 8;

/// The resources that no driver has claimed yet. Clones are the same table.
#[derive(Debug, Clone)]
pub struct Resources {
    waiting: Arc<Mutex<HashMap<Key, Lent>>>,
    tasks: TaskTracker,
}

/// A resource belongs to the driver that it was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    driver: Uuid,
    resource: Uuid,
}

/// The exporter's end of a client's stream.
#[derive(Debug)]
struct Lent {
    frames: Streaming<StreamRequest>,
    replies: mpsc::Sender<Reply>,
}

type Reply = Result<StreamResponse, Status>;

/// What the client hears of its resource. If it stops listening, the resource is gone.
#[derive(Debug)]
pub struct Replies {
    receiver: mpsc::Receiver<Reply>,
    resources: Resources,
    key: Key,
}

impl Resources {
    /// An empty table. `tasks` owns what is still to be read of resources that are done.
    pub fn new(tasks: TaskTracker) -> Self {
        Self { waiting: Arc::default(), tasks }
    }

    /// Takes what a client lends to a driver; returns the id by which a call may name it.
    pub fn offer(&self, driver: Uuid, frames: Streaming<StreamRequest>) -> (Uuid, Replies) {
        let key = Key { driver, resource: Uuid::new_v4() };
        let (replies, receiver) = mpsc::channel(WAITING_FRAMES);
        self.waiting().insert(key, Lent { frames, replies });
        (key.resource, Replies { receiver, resources: self.clone(), key })
    }

    /// What the arguments of a call to `driver` give it access to.
    pub fn for_call(&self, driver: Uuid, arguments: &[Value]) -> CallResources {
        CallResources { table: self.clone(), driver, named: Handle::streams_in(arguments) }
    }

    fn claim(&self, key: Key) -> Result<Lent> {
        self.waiting().remove(&key).ok_or_else(|| {
            DriverError::InvalidArgument(format!(
                "no resource {} is open for this driver; it was used before, or its stream has ended",
                key.resource
            ))
        })
    }

    /// Ends a stream in good order: the client is told that nothing more will come, and what it
    /// still sends is read and forgotten.
    fn finish(&self, mut lent: Lent) {
        self.tasks.spawn(async move {
            // An error means that the client has gone, which ends the loop below as well.
            lent.replies.send(Ok(frame::goaway())).await.ok();
            while let Ok(Some(_)) = lent.frames.message().await {}
        });
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Lent>> {
        self.waiting.lock().expect("nothing panics while it holds the table")
    }
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        self.receiver.poll_recv(context)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.resources.waiting().remove(&self.key);
    }
}

/// The resources that one call may use. When the call is over, those that it named but its driver
/// did not touch are ended, or their client would wait for them for ever.
#[derive(Debug)]
pub struct CallResources {
    table: Resources,
    driver: Uuid,
    named: Vec<Uuid>,
}

impl CallResources {
    fn claim(&self, resource: Uuid) -> Result<Lent> {
        self.table.claim(Key { driver: self.driver, resource })
    }
}

#[async_trait]
impl drivers::Resources for CallResources {
    async fn source(&self, handle: &Value) -> Result<Source> {
        match Handle::parse(handle)? {
            Handle::ClientStream { id, encoding } => {
                let lent = Some(self.claim(id)?);
                let incoming = Incoming { lent, ended: false, table: self.table.clone() };
                let source: Source = Box::pin(StreamReader::new(incoming));
                Ok(match encoding {
                    Some(encoding) => encoding::decode(encoding, source),
                    None => source,
                })
            }
            Handle::Presigned(request) => presigned::source(&request).await,
        }
    }

    async fn source_if_any(&self, handle: &Value) -> Result<Option<Source>> {
        match Handle::parse(handle)? {
            Handle::Presigned(request) => presigned::source_if_any(&request).await,
            // What a client lends it has.
            Handle::ClientStream { .. } => self.source(handle).await.map(Some),
        }
    }

    async fn sink(&self, handle: &Value) -> Result<Sink> {
        match Handle::parse(handle)? {
            Handle::ClientStream { id, encoding } => {
                let lent = self.claim(id)?;
                let sender = PollSender::new(lent.replies.clone());
                let sink: Sink =
                    Box::pin(Outgoing { lent: Some(lent), sender, table: self.table.clone() });
                Ok(match encoding {
                    Some(encoding) => encoding::encode(encoding, sink),
                    None => sink,
                })
            }
            Handle::Presigned(request) => presigned::sink(&request),
        }
    }
}

impl Drop for CallResources {
    fn drop(&mut self) {
        for resource in &self.named {
            if let Ok(lent) = self.claim(*resource) {
                self.table.finish(lent);
            }
        }
    }
}

/// What a client sends, as bytes.
struct Incoming {
    /// None only while it is dropped.
    lent: Option<Lent>,
    ended: bool,
    table: Resources,
}

impl Stream for Incoming {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let this = &mut *self;
            let Some(lent) = this.lent.as_mut().filter(|_| !this.ended) else {
                return Poll::Ready(None);
            };
            let frame = match ready!(Pin::new(&mut lent.frames).poll_next(context)) {
                None => frame::Incoming::End,
                Some(Ok(frame)) => frame::incoming(frame),
                Some(Err(status)) => {
                    this.ended = true;
                    let text = format!("the client's stream broke off: {}", status.message());
                    return Poll::Ready(Some(Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        text,
                    ))));
                }
            };
            match frame {
                frame::Incoming::Data(bytes) if bytes.is_empty() => {}
                frame::Incoming::Data(bytes) => return Poll::Ready(Some(Ok(bytes))),
                frame::Incoming::Ignored => {}
                frame::Incoming::End => this.ended = true,
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.table.finish(lent);
        }
    }
}

/// What a driver writes, as frames to the client.
struct Outgoing {
    /// None once it was shut down.
    lent: Option<Lent>,
    sender: PollSender<Reply>,
    table: Resources,
}

impl AsyncWrite for Outgoing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::new(io::ErrorKind::ConnectionReset, "the client has gone away");
        ready!(self.sender.poll_reserve(context)).map_err(gone)?;
        let length = bytes.len().min(CHUNK);
        let frame = frame::data(Bytes::copy_from_slice(&bytes[..length]));
        self.sender.send_item(Ok(frame)).map_err(gone)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(lent) = self.lent.take() {
            self.sender.close();
            self.table.finish(lent);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            let incomplete = Status::aborted("the driver has not written all of its data");
            self.table.tasks.spawn(async move { lent.replies.send(Err(incomplete)).await });
        }
    }
}
