//! Files that are read from a position of one's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Reads a file from a position on. Others may read the same file at the same time.
#[derive(Debug, Clone)]
pub(super) struct FileCursor {
    /// The file.
    pub(super) file: Arc<File>,
    /// Where the next read starts, in bytes; may be behind the end.
    pub(super) position: u64,
}

impl FileCursor {
    /// Reads a file from its start.
    pub(super) fn new(file: impl Into<Arc<File>>) -> Self {
        Self { file: file.into(), position: 0 }
    }
}

impl Read for FileCursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}
