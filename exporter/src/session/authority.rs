//! Mends the `:authority` of clients on Unix sockets.
//!
//! gRPC clients derive `:authority` from their target, and for `unix:///tmp/x/socket` that is the
//! percent-encoded path, `tmp%2Fx%2Fsocket`. A URI authority may have no `%` there, so h2 resets
//! every such request with PROTOCOL_ERROR before any handler sees it. [`AuthorityFilter`] stands in
//! front of the server and makes such values valid:
//!
//! ```text
//! client ──bytes──► frames    finds the header blocks     RFC 9113, section 6
//!                     hpack   finds the literals          RFC 7541, section 6
//!                     value   mends what h2 would refuse
//!                   ──bytes──► server
//! ```
//!
//! A value is mended in its place, and neither its decoded nor its encoded length changes. From
//! this all else follows:
//!
//! - Frames keep their lengths, flags, padding and order. The server reads as many bytes as the
//!   client wrote, and all bytes but those of a mended value are the client's own.
//! - HPACK's dynamic table measures its entries by their decoded length, so the server's table
//!   evicts exactly what the client's does. What differs is only the value of mended entries: a
//!   client that later refers to one by its index means its bad value, and the server finds the
//!   mended one. References need no change, therefore.
//!
//! Two kinds of bad values have no valid one of their lengths and are left for h2 to refuse: an empty
//! one, and a Huffman-coded one that consists of control characters or the like, whose codes are
//! longer than those of all valid characters.
//!
//! What cannot be followed (no HTTP/2, a malformed block, one of more than 64 KiB) is passed on as
//! it is, and so is all that comes after it on this connection: h2 has its own words for it.

mod frames;
mod hpack;
mod huffman;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use tonic::transport::server::Connected;

use frames::Frames;

/// One server-side connection whose client may send an `:authority` that h2 refuses.
///
/// Only reading differs from the connection within. A header block that arrives in one piece is
/// mended in the reader's own buffer. One that arrives in several is held back until it is complete;
/// meanwhile nothing beyond its end is read, so that no other byte is ever held back or copied.
pub struct AuthorityFilter<IO> {
    io: IO,
    frames: Frames,
    /// The beginning of a frame header or of a header block. Its end has not arrived yet.
    held: BytesMut,
    /// What was held and may now go on.
    mended: BytesMut,
}

/// The client's stream can be followed no further.
#[derive(Debug, PartialEq, Eq)]
struct Lost;

impl<IO> AuthorityFilter<IO> {
    /// Filters a connection from which nothing has been read yet.
    pub fn new(io: IO) -> Self {
        Self { io, frames: Frames::new(), held: BytesMut::new(), mended: BytesMut::new() }
    }
}

impl<IO: AsyncRead + Unpin> AuthorityFilter<IO> {
    /// Reads into the reader's own buffer. Returns whether there is something for the reader, be it
    /// the end of the stream.
    fn poll_pass(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = &mut buf.filled_mut()[before..];
        let passed = self.frames.mend(fresh);
        self.held.extend_from_slice(&fresh[passed..]);
        let nothing_held = self.held.is_empty();
        buf.set_filled(before + passed);
        Poll::Ready(Ok(passed > 0 || nothing_held))
    }

    /// Reads what is missing to what is held.
    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let missing = self.frames.missing();
        self.held.reserve(missing);
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.io),
            cx,
            &mut (&mut self.held).limit(missing)
        ))?;
        if read == 0 {
            // The client has hung up in the middle of it.
            self.frames.stop();
        }
        // Nothing beyond the block has been read, so either all of it may go on or nothing.
        if self.frames.mend(&mut self.held) > 0 {
            self.mended = std::mem::take(&mut self.held);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for AuthorityFilter<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.mended.is_empty() {
                let fitting = this.mended.len().min(buf.remaining());
                buf.put_slice(&this.mended.split_to(fitting));
                if this.mended.is_empty() {
                    // An idle connection keeps no buffer.
                    this.mended = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() {
                ready!(this.poll_complete(cx))?;
            } else if ready!(this.poll_pass(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for AuthorityFilter<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl<IO: Connected> Connected for AuthorityFilter<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<IO: fmt::Debug> fmt::Debug for AuthorityFilter<IO> {
    /// Leaves out the bytes that are held: header blocks carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityFilter").field("io", &self.io).finish_non_exhaustive()
    }
}
