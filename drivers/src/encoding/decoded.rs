//! Decompression, with errors that say what is wrong with the data.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{
    BzDecoder, GzipDecoder, XzDecoder, ZlibDecoder, ZstdDecoder,
};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::Encoding;
use crate::stream::Source;

/// How much is decompressed before other tasks get their turn, in bytes. Xz takes a few milliseconds
/// for it, others less; bzip2 now and then does a whole block of 900 kB.
const PIECE: usize = 128 * 1024;

/// The most memory that an xz stream may ask for, in bytes. `xz -9` asks for 65 MiB.
const XZ_MEMORY: u64 = 256 * 1024 * 1024;

type Plain = Pin<Box<dyn AsyncRead + Send>>;

/// A decoder that goes on with what follows the first member.
macro_rules! whole {
    ($decoder:expr) => {{
        let mut decoder = $decoder;
        decoder.multiple_members(true);
        Box::pin(decoder)
    }};
}

/// See [`super::decode`].
pub(super) fn decode(encoding: Encoding, source: Source) -> Source {
    let state = Arc::new(State::default());
    let source = Watched { source, state: Arc::clone(&state) };
    let plain: Plain = match encoding {
        Encoding::Gzip => {
            Box::pin(Deflated { source: Some(source), plain: Box::pin(tokio::io::empty()) })
        }
        Encoding::Xz => whole!(XzDecoder::with_mem_limit(source, XZ_MEMORY)),
        Encoding::Bz2 => whole!(BzDecoder::new(source)),
        Encoding::Zstd => whole!(ZstdDecoder::new(source)),
    };
    let plain = BufReader::with_capacity(PIECE, plain);
    Box::pin(Decoded { encoding, plain, source: state, rested: false })
}

/// Plain bytes, piece by piece.
struct Decoded {
    encoding: Encoding,
    plain: BufReader<Plain>,
    source: Arc<State>,
    /// Whether others had their turn since the last piece.
    rested: bool,
}

impl Decoded {
    /// Says whose fault it is: the source's, or that of the data, and which.
    fn explain(&self, error: io::Error) -> io::Error {
        let encoding = self.encoding;
        if self.source.failed.load(Ordering::Relaxed) {
            error
        } else if self.source.ended.load(Ordering::Relaxed) {
            invalid(format!("the {encoding} data ends early"))
        } else {
            invalid(format!("the {encoding} data is corrupt or not supported: {error}"))
        }
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl AsyncBufRead for Decoded {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.plain.buffer().is_empty() {
            if !this.rested {
                this.rested = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Err(error) = ready!(Pin::new(&mut this.plain).poll_fill_buf(cx)) {
                return Poll::Ready(Err(this.explain(error)));
            }
            this.rested = false;
        }
        Poll::Ready(Ok(this.plain.buffer()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.get_mut().plain).consume(amount);
    }
}

impl AsyncRead for Decoded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let plain = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = plain.len().min(buffer.remaining());
        buffer.put_slice(&plain[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

/// What has become of the compressed source. Decoders don't tell its errors from theirs.
#[derive(Default)]
struct State {
    ended: AtomicBool,
    failed: AtomicBool,
}

/// The compressed source, under observation.
struct Watched {
    source: Source,
    state: Arc<State>,
}

impl AsyncBufRead for Watched {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { source, state } = self.get_mut();
        let filled = ready!(source.as_mut().poll_fill_buf(cx));
        match &filled {
            Ok([]) => state.ended.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => state.failed.store(true, Ordering::Relaxed),
        }
        Poll::Ready(filled)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().source.as_mut().consume(amount);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().source.as_mut().poll_read(cx, buffer)
    }
}

/// Deflated data in gzip's wrapper or in zlib's; the first byte tells.
struct Deflated {
    /// There until the first byte is.
    source: Option<Watched>,
    plain: Plain,
}

impl AsyncRead for Deflated {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        /// The compression method in the low half of zlib's first byte; gzip's begins with 0x1f.
        const ZLIB_DEFLATE: u8 = 8;
        let this = self.get_mut();
        if let Some(mut source) = this.source.take() {
            let Poll::Ready(filled) = Pin::new(&mut source).poll_fill_buf(cx) else {
                this.source = Some(source);
                return Poll::Pending;
            };
            let zlib = filled?.first().is_some_and(|first| first & 0x0f == ZLIB_DEFLATE);
            this.plain = if zlib {
                whole!(ZlibDecoder::new(source))
            } else {
                whole!(GzipDecoder::new(source))
            };
        }
        this.plain.as_mut().poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::{decode, encode};
    use super::*;
    use crate::testing::{cut_off, sink, whole};

    /// `hello` and a newline, as the formats' own tools write them; the last is zlib's.
    const HELLO: [(Encoding, &[u8]); 5] = [
        (
            Encoding::Gzip,
            b"\x1f\x8b\x08\x08\xc8&\x01k\x00\x03f\x00\xcbH\xcd\xc9\xc9\xe7\x02\x00 0:6\x06\x00\x00\x00",
        ),
        (
            Encoding::Xz,
            b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x05\
            hello\x0a\x00\x00\x00\xa5`\x97\xf1\x94\xf6\xfd\xe0\x00\x01\x1e\x06\xc1/\xa4\x1d\x1f\xb6\
            \xf3}\x01\x00\x00\x00\x00\x04YZ",
        ),
        (
            Encoding::Bz2,
            b"BZh91AY&SY\xc1\xc0\x80\xe2\x00\x00\x01A\x00\x00\x10\x02D\xa0\x000\xcd\x00\xc3F)\x97\x17\
            rE8P\x90\xc1\xc0\x80\xe2",
        ),
        (Encoding::Zstd, b"(\xb5/\xfd$\x061\x00\x00hello\x0aS\x88\xbd\x91"),
        (Encoding::Gzip, b"x\x9c\xcbH\xcd\xc9\xc9\xe7\x02\x00\x08K\x02\x1f"),
    ];

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn encoded(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        block_on(async {
            let (sink, received) = sink();
            let mut sink = encode(encoding, sink);
            sink.write_all(plain).await.unwrap();
            assert_eq!(received.complete(), None);
            sink.shutdown().await.unwrap();
            received.complete().unwrap()
        })
    }

    fn read(encoding: Encoding, source: Source) -> io::Result<Vec<u8>> {
        block_on(async {
            let mut plain = Vec::new();
            decode(encoding, source).read_to_end(&mut plain).await.map(|_| plain)
        })
    }

    fn decoded(encoding: Encoding, compressed: &[u8]) -> Result<Vec<u8>, String> {
        read(encoding, whole(compressed)).map_err(|error| {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            error.to_string()
        })
    }

    /// Bytes that can be compressed, but not to nothing.
    fn text(lines: usize) -> Vec<u8> {
        (0..lines)
            .flat_map(|line| format!("{line}: {}\n", line * line % 7919).into_bytes())
            .collect()
    }

    #[test]
    fn files_of_the_usual_tools_are_read() {
        for (encoding, compressed) in HELLO {
            assert_eq!(decoded(encoding, compressed), Ok(b"hello\n".to_vec()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn what_is_encoded_is_decoded_again(
            plain in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8000), 0..6),
            repeat in 1_usize..20,
            piece in 1_usize..5000,
        ) {
            let plain = plain.concat().repeat(repeat);
            for encoding in Encoding::ALL {
                let compressed = Cursor::new(encoded(encoding, &plain));
                let source = Box::pin(BufReader::with_capacity(piece, compressed));
                prop_assert!(read(encoding, source).unwrap() == plain);
            }
        }
    }

    #[test]
    fn members_that_follow_one_another_are_read_to_the_end() {
        for (encoding, hello) in HELLO {
            let compressed = [hello, &encoded(encoding, b""), hello].concat();
            let plain = decoded(encoding, &compressed);
            if hello.first() == Some(&b'x') {
                assert!(plain.unwrap_err().contains("corrupt"), "gzip does not follow zlib");
            } else {
                assert_eq!(plain, Ok(b"hello\nhello\n".to_vec()));
            }
        }
    }

    #[test]
    fn data_that_ends_early_is_an_error_wherever_it_ends() {
        let plain = text(200);
        let mut samples = HELLO.map(|(encoding, hello)| (encoding, hello.to_vec())).to_vec();
        samples.extend(Encoding::ALL.map(|encoding| (encoding, encoded(encoding, &plain))));
        for (encoding, compressed) in samples {
            for end in 0..compressed.len() {
                assert_eq!(
                    decoded(encoding, &compressed[..end]),
                    Err(format!("the {encoding} data ends early")),
                    "{end} of {} bytes",
                    compressed.len()
                );
            }
        }
    }

    #[test]
    fn a_second_member_that_ends_early_is_an_error_too() {
        for (encoding, hello) in HELLO {
            for end in 1..hello.len() {
                let compressed = [hello, &hello[..end]].concat();
                assert_eq!(
                    decoded(encoding, &compressed),
                    Err(format!("the {encoding} data ends early"))
                );
            }
        }
    }

    #[test]
    fn a_changed_byte_never_changes_what_is_read() {
        let plain = text(200);
        for encoding in Encoding::ALL {
            let compressed = encoded(encoding, &plain);
            let mut harmless = 0;
            for index in 0..compressed.len() {
                let mut changed = compressed.clone();
                changed[index] ^= 0x10;
                match decoded(encoding, &changed) {
                    Ok(read) => {
                        assert!(read == plain, "{encoding}, byte {index}");
                        harmless += 1;
                    }
                    Err(error) => assert!(
                        error.starts_with(&format!(
                            "the {encoding} data is corrupt or not supported: "
                        )) || error == format!("the {encoding} data ends early"),
                        "{error}"
                    ),
                }
            }
            assert!(harmless < 12, "{encoding}: {harmless} bytes do not matter");
        }
    }

    #[test]
    fn anything_behind_the_data_is_an_error() {
        for (encoding, hello) in HELLO {
            for garbage in [&b"garbage that is longer than any header"[..], b"\xff", b"x"] {
                let error = decoded(encoding, &[hello, garbage].concat()).unwrap_err();
                assert!(error.starts_with(&format!("the {encoding} data ")), "{error}");
            }
        }
    }

    #[test]
    fn something_else_is_corrupt() {
        for encoding in Encoding::ALL {
            let error = decoded(encoding, b"plain text, and not that short").unwrap_err();
            assert!(
                error.starts_with(&format!("the {encoding} data is corrupt or not supported: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_source_that_fails_is_not_taken_for_bad_data() {
        for (encoding, hello) in HELLO {
            for end in [0, hello.len() / 2, hello.len()] {
                let error = read(encoding, cut_off(&hello[..end])).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                assert_eq!(error.to_string(), "the client went away");
            }
        }
    }

    #[test]
    fn an_encoder_that_is_dropped_leaves_its_sink_incomplete() {
        for encoding in Encoding::ALL {
            let received = block_on(async {
                let (sink, received) = sink();
                let mut sink = encode(encoding, sink);
                sink.write_all(&text(200)).await.unwrap();
                received
            });
            assert_eq!(received.complete(), None);
        }
    }
}
