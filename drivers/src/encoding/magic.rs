//! What a stream is compressed with, when nobody says.

use std::io::{self, Cursor};

use tokio::io::AsyncReadExt as _;

use super::Encoding;
use crate::stream::Source;

/// As many bytes as the longest magic number has.
const LONGEST: usize = 6;

/// See [`super::detect`].
pub(super) async fn detect(mut source: Source) -> io::Result<(Option<Encoding>, Source)> {
    let mut start = Vec::with_capacity(LONGEST);
    while start.len() < LONGEST {
        let missing = LONGEST - start.len();
        if (&mut source).take(missing as u64).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    Ok((encoding_of(&start), Box::pin(Cursor::new(start).chain(source))))
}

/// What data that begins like this is compressed with; none if it is plain, as far as one can tell.
const fn encoding_of(start: &[u8]) -> Option<Encoding> {
    match start {
        [0x1f, 0x8b, 8, ..] => Some(Encoding::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Encoding::Xz),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Encoding::Bz2),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Encoding::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, BufReader};

    use super::super::encode;
    use super::*;
    use crate::testing::{cut_off, image, sink, whole};

    #[tokio::test]
    async fn what_was_encoded_is_recognised_and_left_whole() {
        for encoding in Encoding::ALL {
            let (sink, received) = sink();
            let mut sink = encode(encoding, sink);
            sink.write_all(&image(10_000)).await.unwrap();
            sink.shutdown().await.unwrap();
            let compressed = received.complete().unwrap();
            // However few bytes come at a time.
            let source = BufReader::with_capacity(1, Cursor::new(compressed.clone()));
            let (detected, mut source) = detect(Box::pin(source)).await.unwrap();
            assert_eq!(detected, Some(encoding));
            let mut read = Vec::new();
            source.read_to_end(&mut read).await.unwrap();
            assert!(read == compressed);
        }
    }

    #[tokio::test]
    async fn plain_data_is_plain_however_short() {
        for plain in [&b""[..], b"B", b"BZh0 is no block size", b"\x1f\x8b", b"\xeb\x63\x90 boot"] {
            let (detected, mut source) = detect(whole(plain)).await.unwrap();
            assert_eq!(detected, None);
            let mut read = Vec::new();
            source.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, plain);
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_fails_here() {
        let error = detect(cut_off(b"BZh")).await.err().unwrap();
        assert_eq!(error.to_string(), "the client went away");
    }
}
