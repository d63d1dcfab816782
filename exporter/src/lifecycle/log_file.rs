//! The file that has what the hooks of one event have printed, the last time that it happened.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// How much of an output is kept, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What is written in the place of the rest.
const REST: &str = "(the rest of the output is not kept)";

/// A log file that is being written.
#[derive(Debug)]
pub(super) struct LogFile {
    /// None after a fault, or once it is full.
    file: Option<File>,
    written: u64,
}

impl LogFile {
    /// Begins a new file in the place of the last one. Who has that one open goes on reading it.
    ///
    /// # Errors
    ///
    /// The directory can't be made, or not be written into.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self { file: Some(File::create_new(path)?), written: 0 })
    }

    /// Adds a line.
    pub(super) fn write_line(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        self.written += line.len() as u64 + 1;
        let is_full = self.written > LARGEST;
        let line = if is_full { REST } else { line };
        let done = file.write_all(format!("{line}\n").as_bytes());
        if let Err(error) = &done {
            tracing::warn!("the log file of a hook is not complete: {error}");
        }
        if is_full || done.is_err() {
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_time_begins_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hooks/stop.log");
        let mut log = LogFile::begin(&path).unwrap();
        log.write_line("first");
        let mut reader = File::open(&path).unwrap();
        let mut again = LogFile::begin(&path).unwrap();
        log.write_line("still first");
        again.write_line("second");
        let mut heard = String::new();
        reader.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "first\nstill first\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    }

    #[test]
    fn a_file_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop.log");
        let mut log = LogFile::begin(&path).unwrap();
        let line = "x".repeat(1024 * 1024 - 1);
        for _ in 0..20 {
            log.write_line(&line);
        }
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(content.len() as u64, LARGEST + REST.len() as u64 + 1);
        assert!(content.ends_with(&format!("x\n{REST}\n")));
    }
}
