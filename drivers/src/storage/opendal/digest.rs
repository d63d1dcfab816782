//! Checksums of files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};

use serde::Deserialize;
use sha2::digest::Digest;

/// How much is read at once, in bytes.
const PIECE: usize = 1024 * 1024;

/// A kind of checksum, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    /// `md5`.
    Md5,
    /// `sha256`.
    #[default]
    Sha256,
}

impl Algorithm {
    /// The file's checksum in hexadecimal; none if it is not `wanted` any more before it is ready.
    pub(super) fn digest(
        self,
        file: File,
        wanted: impl Fn() -> bool,
    ) -> io::Result<Option<String>> {
        match self {
            Self::Md5 => digest::<md5::Md5>(file, wanted),
            Self::Sha256 => digest::<sha2::Sha256>(file, wanted),
        }
    }
}

fn digest<D: Digest>(mut file: File, wanted: impl Fn() -> bool) -> io::Result<Option<String>> {
    let mut digest = D::new();
    let mut buffer = vec![0; PIECE];
    while wanted() {
        match file.read(&mut buffer) {
            Ok(0) => {
                let mut text = String::new();
                for byte in digest.finalize() {
                    write!(text, "{byte:02x}").map_err(io::Error::other)?;
                }
                return Ok(Some(text));
            }
            Ok(length) => digest.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
