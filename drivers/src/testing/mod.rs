//! What tests lend a driver in place of a client, and how they call it.

pub(crate) mod http;
pub(crate) mod process;

use std::collections::HashMap;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader, ReadBuf};

use crate::driver::{Call, Driver, Resources, Shape, check_method};
use crate::stream::{Sink, Source};
use crate::{Args, DriverError, Result};

/// Everything that a test lends, by handle. A handle can be used once.
#[derive(Default)]
pub(crate) struct Lent {
    sources: Mutex<HashMap<String, Source>>,
    sinks: Mutex<HashMap<String, Sink>>,
}

impl Lent {
    /// Lends `bytes`, all of them.
    pub(crate) fn bytes(&self, bytes: impl Into<Vec<u8>>) -> Value {
        self.source(whole(bytes))
    }

    /// Lends something to read.
    pub(crate) fn source(&self, source: Source) -> Value {
        let handle = uuid::Uuid::new_v4().to_string();
        self.sources.lock().unwrap().insert(handle.clone(), source);
        json!(handle)
    }

    /// Lends something to write to.
    pub(crate) fn sink(&self) -> (Value, Received) {
        let (sink, received) = sink();
        (self.lend_sink(sink), received)
    }

    /// Lends a sink of the test's own.
    pub(crate) fn lend_sink(&self, sink: Sink) -> Value {
        let handle = uuid::Uuid::new_v4().to_string();
        self.sinks.lock().unwrap().insert(handle.clone(), sink);
        json!(handle)
    }

    /// Calls a method that returns one value.
    pub(crate) async fn call(
        &self,
        driver: &dyn Driver,
        method: &str,
        args: Value,
    ) -> Result<Value> {
        check_method(driver, method, Shape::Unary)?;
        let args = Args::new(args.as_array().unwrap().clone());
        driver.call(Call { method, args, resources: self }).await
    }

    /// Calls a method that yields values, and collects them.
    pub(crate) async fn items(
        &self,
        driver: &dyn Driver,
        method: &str,
        args: Value,
    ) -> Result<Vec<Value>> {
        check_method(driver, method, Shape::Items)?;
        let args = Args::new(args.as_array().unwrap().clone());
        driver.items(Call { method, args, resources: self }).await?.try_collect().await
    }
}

fn take<T>(lent: &Mutex<HashMap<String, T>>, handle: &Value) -> Result<T> {
    let handle = handle.as_str().unwrap_or_default();
    let unknown = || DriverError::NotFound(format!("no resource has the handle '{handle}'"));
    lent.lock().unwrap().remove(handle).ok_or_else(unknown)
}

#[async_trait]
impl Resources for Lent {
    async fn source(&self, handle: &Value) -> Result<Source> {
        take(&self.sources, handle)
    }

    async fn source_if_any(&self, handle: &Value) -> Result<Option<Source>> {
        Ok(take(&self.sources, handle).ok())
    }

    async fn sink(&self, handle: &Value) -> Result<Sink> {
        take(&self.sinks, handle)
    }
}

/// Bytes that differ from place to place, and can be compressed.
pub(crate) fn image(length: usize) -> Vec<u8> {
    (0..length).map(|index| index.to_le_bytes()[0] ^ (index >> 9).to_le_bytes()[0]).collect()
}

/// A source of all these bytes.
pub(crate) fn whole(bytes: impl Into<Vec<u8>>) -> Source {
    Box::pin(Cursor::new(bytes.into()))
}

/// A source whose client goes away after these bytes.
pub(crate) fn cut_off(bytes: impl Into<Vec<u8>>) -> Source {
    Box::pin(BufReader::new(Cursor::new(bytes.into()).chain(Gone)))
}

/// Fails, as a client that has gone away does.
struct Gone;

impl AsyncRead for Gone {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the client went away")))
    }
}

/// A sink, and what it has received.
pub(crate) fn sink() -> (Sink, Received) {
    let received = Received::default();
    (Box::pin(received.clone()), received)
}

/// What a sink has received.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<(Vec<u8>, bool)>>);

impl Received {
    /// Everything, if the sink was ended properly.
    pub(crate) fn complete(&self) -> Option<Vec<u8>> {
        let (bytes, ended) = &*self.0.lock().unwrap();
        ended.then(|| bytes.clone())
    }

    /// How many bytes have come so far.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

impl AsyncWrite for Received {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().1 = true;
        Poll::Ready(Ok(()))
    }
}
