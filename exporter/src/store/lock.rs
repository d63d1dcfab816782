//! One process for each state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io, process};

use super::error::StoreError;

/// The name of the file that is locked.
const NAME: &str = "lock";

/// The right to write into a state directory, for as long as it is kept.
///
/// The kernel takes it back with the process, however that ends. The file stays: removing it would
/// let two processes lock two files of the same name.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a directory, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        let system = |error| StoreError::of_system(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(system)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).ok();
                return Err(StoreError::Locked { dir: dir.into(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(system(error)),
        }
        let text = format!("{}\n", process::id());
        file.write_all(text.as_bytes()).map_err(system)?;
        // The last one's may have been longer.
        file.set_len(text.len() as u64).map_err(system)?;
        Ok(Self { file, path })
    }

    /// Whether the locked file is still the one that others would find.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    /// Closing the file would not do: a child that is between fork and exec has it open as well.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_has_the_file_open_keeps_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let childs = lock.file.try_clone().unwrap();
        assert!(matches!(Lock::take(directory.path()), Err(StoreError::Locked { .. })));
        drop(lock);
        Lock::take(directory.path()).unwrap();
        drop(childs);
    }
}
