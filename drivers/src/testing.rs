//! What tests lend a driver in place of a client.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader, ReadBuf};

use crate::stream::{Sink, Source};

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
