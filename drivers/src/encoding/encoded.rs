//! Compression, in small pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::Level;
use async_compression::tokio::write::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use tokio::io::{AsyncWrite, BufWriter};

use super::Encoding;
use crate::stream::{CHUNK, Sink};

/// How much is compressed before other tasks get their turn, in bytes. Xz and bzip2 collect, so now
/// and then it takes them much longer than usual.
const PIECE: usize = 16 * 1024;

/// See [`super::encode`].
pub(super) fn encode(encoding: Encoding, sink: Sink) -> Sink {
    // Encoders write whenever they have a little.
    let sink = BufWriter::with_capacity(CHUNK, sink);
    let plain: Sink = match encoding {
        Encoding::Gzip => Box::pin(GzipEncoder::new(sink)),
        Encoding::Xz => Box::pin(XzEncoder::new(sink)),
        Encoding::Bz2 => Box::pin(BzEncoder::new(sink)),
        // The other formats have a checksum anyway.
        Encoding::Zstd => Box::pin(ZstdEncoder::with_quality_and_params(
            sink,
            Level::Default,
            &[CParameter::checksum_flag(true)],
        )),
    };
    Box::pin(Encoded { plain, rested: false })
}

/// Takes plain bytes, piece by piece.
struct Encoded {
    plain: Sink,
    /// Whether others had their turn since the last piece.
    rested: bool,
}

impl AsyncWrite for Encoded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.rested {
            this.rested = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = &bytes[..bytes.len().min(PIECE)];
        let written = ready!(this.plain.as_mut().poll_write(cx, piece));
        this.rested = false;
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().plain.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().plain.as_mut().poll_shutdown(cx)
    }
}
