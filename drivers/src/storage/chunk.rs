//! A piece of an image on its way, in memory that devices can take it from without a copy.

use std::io::{self, Read};

use tokio::io::AsyncBufReadExt as _;

use crate::DriverError;
use crate::stream::Source;

/// The size of a full chunk, in bytes.
pub(super) const CHUNK: usize = 1024 * 1024;

/// What the memory of a chunk is aligned to, in bytes, as devices want it that are opened to bypass
/// the page cache. Their sectors are no longer than this either.
pub(super) const ALIGNMENT: usize = 4096;

/// A piece of the data.
pub(super) struct Chunk {
    memory: Box<[u8]>,
    /// Where the aligned part of the memory starts.
    start: usize,
    length: usize,
}

impl Chunk {
    pub(super) fn new() -> Self {
        let memory = vec![0; CHUNK + ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, length: 0 }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// All of its memory, whether it is filled or not.
    pub(super) fn memory(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + CHUNK]
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.length..self.start + CHUNK]
    }

    pub(super) const fn is_full(&self) -> bool {
        self.length == CHUNK
    }

    pub(super) fn emptied(self) -> Self {
        Self { length: 0, ..self }
    }

    /// Receives from a client until the chunk is full or there is no more.
    pub(super) async fn receive(&mut self, source: &mut Source) -> io::Result<()> {
        while !self.is_full() {
            let bytes = source.fill_buf().await?;
            if bytes.is_empty() {
                break;
            }
            let taken = self.append(bytes);
            source.consume(taken);
        }
        Ok(())
    }

    /// Takes as many of `bytes` as there is room for, and returns how many that are.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
        taken
    }

    /// Reads until the chunk is full or the origin has no more.
    pub(super) fn fill(&mut self, origin: &mut impl Read) -> io::Result<()> {
        while !self.is_full() {
            match origin.read(self.room()) {
                Ok(0) => break,
                Ok(length) => self.length += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The error for a client's data that could not be read to its end.
pub(super) fn receive_error(error: io::Error) -> DriverError {
    if error.kind() == io::ErrorKind::InvalidData {
        DriverError::InvalidArgument(error.to_string())
    } else {
        DriverError::io("receive the data", error)
    }
}
