//! Compressed images, on their way in and out.
//!
//! A client announces how the bytes that it lends are compressed; drivers see them plain:
//! [`decode`] stands between the client's bytes and the driver, [`encode`] between the driver and
//! the client.
//!
//! The work is done where the stream is polled, so on the runtime's threads. Both directions do it
//! in small pieces and let other tasks run after each. A piece takes a few milliseconds at most,
//! except that bzip2 works by blocks, and one thread is busy with each for some 100 milliseconds.

mod decoded;
mod encoded;
mod magic;

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::stream::{Sink, Source};

/// How bytes are compressed. The names are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip`. For reading, zlib's wrapper is as good.
    Gzip,
    /// `xz`.
    Xz,
    /// `bz2`.
    Bz2,
    /// `zstd`.
    Zstd,
}

/// The plain bytes of `source`, which is compressed.
///
/// Everything that the format allows to follow one another (members, streams, frames) is read to
/// the end. Data that ends early or is corrupt, or has something else behind it, is an error of the
/// kind [`InvalidData`](std::io::ErrorKind::InvalidData) that says so, and so is data that would take
/// more memory than an image should (xz: 256 MiB, zstd: 128 MiB). An error of `source` itself comes
/// through as it is.
pub fn decode(encoding: Encoding, source: Source) -> Source {
    decoded::decode(encoding, source)
}

/// Takes plain bytes, and writes them compressed to `sink`.
///
/// Shutting it down completes the compressed data and shuts `sink` down. Dropped before that, it
/// drops `sink`, and what was written so far is as incomplete as it looks.
pub fn encode(encoding: Encoding, sink: Sink) -> Sink {
    encoded::encode(encoding, sink)
}

/// Recognises by its first bytes how `source` is compressed, and gives all of it back. None if it is
/// plain, as far as one can tell.
///
/// # Errors
///
/// Those of `source`.
pub async fn detect(source: Source) -> io::Result<(Option<Encoding>, Source)> {
    magic::detect(source).await
}

impl Encoding {
    /// Every encoding there is.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Xz, Self::Bz2, Self::Zstd];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bz2 => "bz2",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.name() == name)
            .ok_or_else(|| UnknownEncoding(name.to_owned()))
    }
}

/// A name that no encoding has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown encoding '{0}', expected one of gzip, xz, bz2, zstd")]
pub struct UnknownEncoding(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire() {
        for encoding in Encoding::ALL {
            assert_eq!(encoding.name().parse(), Ok(encoding));
        }
        assert_eq!(
            "lz4".parse::<Encoding>().unwrap_err().to_string(),
            "unknown encoding 'lz4', expected one of gzip, xz, bz2, zstd"
        );
        assert!("GZIP".parse::<Encoding>().is_err());
    }
}
