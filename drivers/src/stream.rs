//! Byte streams between a client and a device.
//!
//! A stream is made of chunks, not of bytes: a UDP datagram or a WebSocket message is one chunk and
//! stays one. Devices that have no such borders (serial ports, TCP) are wrapped with
//! [`ByteStream::from_io`].

use std::pin::Pin;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::{DriverError, Result};

/// The longest chunk read from a device at once, in bytes. The reference reads as much.
pub const CHUNK: usize = 64 * 1024;

/// An open, bidirectional stream to a device. Dropping it closes the device's end.
#[expect(missing_debug_implementations, reason = "the halves are opaque")]
pub struct ByteStream {
    /// What the device sends.
    pub reader: Box<dyn ChunkReader>,
    /// What the client sends.
    pub writer: Box<dyn ChunkWriter>,
}

/// The direction from the device to the client.
#[async_trait]
pub trait ChunkReader: Send {
    /// The next chunk, or none once the device has sent its last. Cancel safe.
    async fn read(&mut self) -> Result<Option<Bytes>>;
}

/// The direction from the client to the device.
#[async_trait]
pub trait ChunkWriter: Send {
    /// Hands one chunk to the device; waits while the device can't take it.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// The client has sent its last chunk. Devices without a half-close ignore it.
    async fn finish(&mut self) -> Result<()>;
}

/// What a client lends a driver to read from (an image to flash), decompressed.
pub type Source = Pin<Box<dyn AsyncBufRead + Send>>;

/// What a client lends a driver to write to (a dump). Shut it down to end it properly; a sink that
/// is merely dropped tells the client that the data is incomplete.
pub type Sink = Pin<Box<dyn AsyncWrite + Send>>;

impl ByteStream {
    /// A stream over the two directions of something without chunks. `what` names it in errors.
    pub fn from_io<R, W>(what: &str, reader: R, writer: W) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            reader: Box::new(IoReader {
                what: what.into(),
                inner: reader,
                buffer: BytesMut::new(),
            }),
            writer: Box::new(IoWriter { what: what.into(), inner: writer }),
        }
    }

    /// A stream that gives every chunk back as it came, and ends when the client has sent its last.
    pub fn loopback() -> Self {
        let (sender, receiver) = mpsc::channel(LOOP_CHUNKS);
        Self { reader: Box::new(LoopReader(receiver)), writer: Box::new(LoopWriter(Some(sender))) }
    }
}

struct IoReader<R> {
    what: Box<str>,
    inner: R,
    buffer: BytesMut,
}

#[async_trait]
impl<R: AsyncRead + Send + Unpin> ChunkReader for IoReader<R> {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.buffer.capacity() < CHUNK / 4 {
            self.buffer.reserve(CHUNK);
        }
        let length = self
            .inner
            .read_buf(&mut self.buffer)
            .await
            .map_err(|error| DriverError::io(format!("read from {}", self.what), error))?;
        Ok((length > 0).then(|| self.buffer.split().freeze()))
    }
}

struct IoWriter<W> {
    what: Box<str>,
    inner: W,
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> ChunkWriter for IoWriter<W> {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let written = async {
            self.inner.write_all(&chunk).await?;
            self.inner.flush().await
        };
        written.await.map_err(|error| DriverError::io(format!("write to {}", self.what), error))
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner
            .shutdown()
            .await
            .map_err(|error| DriverError::io(format!("end writing to {}", self.what), error))
    }
}

/// How many chunks a loopback holds before writing to it waits. The reference's holds as many.
const LOOP_CHUNKS: usize = 32;

struct LoopReader(mpsc::Receiver<Bytes>);

#[async_trait]
impl ChunkReader for LoopReader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.recv().await)
    }
}

struct LoopWriter(Option<mpsc::Sender<Bytes>>);

#[async_trait]
impl ChunkWriter for LoopWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let gone = || DriverError::Disconnected("the other end of the loop is closed".into());
        self.0.as_ref().ok_or_else(gone)?.send(chunk).await.map_err(|_| gone())
    }

    async fn finish(&mut self) -> Result<()> {
        self.0 = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_keeps_chunks_apart() {
        let mut stream = ByteStream::loopback();
        for chunk in ["one", "", "two"] {
            stream.writer.write(chunk.into()).await.unwrap();
        }
        stream.writer.finish().await.unwrap();
        for chunk in ["one", "", "two"] {
            assert_eq!(stream.reader.read().await.unwrap().unwrap(), chunk);
        }
        assert!(stream.reader.read().await.unwrap().is_none());
        assert!(stream.writer.write("late".into()).await.is_err());
    }

    #[tokio::test]
    async fn half_close_passes_through() {
        let (near, far) = tokio::io::duplex(64);
        let (reader, writer) = tokio::io::split(near);
        let mut stream = ByteStream::from_io("the test", reader, writer);
        let (mut far_reader, mut far_writer) = tokio::io::split(far);

        stream.writer.write(Bytes::from_static(b"ping")).await.unwrap();
        stream.writer.finish().await.unwrap();
        let mut heard = Vec::new();
        far_reader.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"ping");

        far_writer.write_all(b"pong").await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "pong");
        far_writer.shutdown().await.unwrap();
        assert!(stream.reader.read().await.unwrap().is_none());
    }
}
