//! The files that clients have open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::path::StoragePath;
use super::upload::Upload;
use crate::blocking;
use crate::storage::cursor::FileCursor;
use crate::storage::{copy, lock};
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// The files of a lease, by the descriptors that clients know them by. A closed file stays, so that
/// clients can ask whether it is closed.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<OpenFile>>>>);

impl Files {
    /// Takes a file in, and returns its descriptor.
    pub(super) fn insert(&self, file: OpenFile) -> Uuid {
        let fd = Uuid::new_v4();
        let file = Arc::new(tokio::sync::Mutex::new(file));
        lock(&self.0).insert(fd, file);
        fd
    }

    /// The file with this descriptor. Calls for one file wait for each other.
    pub(super) async fn get(&self, fd: Uuid) -> Result<OwnedMutexGuard<OpenFile>> {
        let file = lock(&self.0).get(&fd).cloned();
        // The reference's words.
        let file = file.ok_or_else(|| DriverError::NotFound(format!("UUID('{fd}')")))?;
        Ok(file.lock_owned().await)
    }

    /// Forgets all files, and with them what was uploaded, but not closed. Blocks.
    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// A file that a client has opened.
#[derive(Debug)]
pub(super) enum OpenFile {
    /// For reading.
    Reading {
        /// Its path.
        path: StoragePath,
        /// Its content, and where the next read starts.
        cursor: FileCursor,
    },
    /// For writing; the file has its new content once it is closed.
    Writing(Upload),
    /// For writing, but a write has failed, and the new content is gone.
    Failed {
        /// Its path.
        path: StoragePath,
        /// What has failed.
        reason: String,
    },
    /// Not any more.
    Closed,
}

impl OpenFile {
    /// Whether it can be read from and positioned.
    pub(super) const fn is_readable(&self) -> bool {
        matches!(self, Self::Reading { .. })
    }

    /// Whether it can be written to.
    pub(super) const fn is_writable(&self) -> bool {
        matches!(self, Self::Writing(_))
    }

    /// Whether it was closed.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Copies from the position to the end, and leaves the position there. If that fails, the
    /// position stays.
    pub(super) async fn read(&mut self, sink: &mut Sink) -> Result<()> {
        let (path, cursor) = self.reading()?;
        (*cursor, _) = copy::read(cursor.clone(), sink, &format!("'{path}'")).await?;
        Ok(())
    }

    /// Appends all of `source` to the new content. If that fails or is given up, the new content is
    /// lost as a whole: it has a hole then.
    pub(super) async fn write(&mut self, source: Source) -> Result<()> {
        let upload = match std::mem::replace(self, Self::Closed) {
            Self::Writing(upload) => upload,
            other @ (Self::Reading { .. } | Self::Failed { .. } | Self::Closed) => {
                let error = DriverError::InvalidArgument(match &other {
                    Self::Failed { reason, .. } => format!("an earlier write failed: {reason}"),
                    Self::Closed => CLOSED.into(),
                    Self::Reading { .. } | Self::Writing(_) => READ_ONLY.into(),
                });
                *self = other;
                return Err(error);
            }
        };
        let path = upload.path().clone();
        let name = format!("'{path}'");
        // What stays if the caller gives up.
        *self = Self::Failed { path: path.clone(), reason: "the write was cancelled".into() };
        match copy::write(source, upload, &name).await {
            Ok((upload, _)) => {
                *self = Self::Writing(upload);
                Ok(())
            }
            Err(error) => {
                *self = Self::Failed { path, reason: error.to_string() };
                Err(error)
            }
        }
    }

    /// Moves the position, and returns it. `whence` is 0 for the start, 1 for the position, 2 for
    /// the end.
    pub(super) async fn seek(&mut self, offset: i64, whence: i64) -> Result<u64> {
        let (path, cursor) = self.reading()?;
        let origin = match whence {
            0 => 0,
            1 => cursor.position,
            2 => {
                let (file, context) = (Arc::clone(&cursor.file), format!("stat '{path}'"));
                let length = move || match file.metadata() {
                    Ok(metadata) => Ok(metadata.len()),
                    Err(error) => Err(DriverError::io(context, error)),
                };
                blocking::start("measure a file", length).done().await?
            }
            _ => return Err(DriverError::InvalidArgument("invalid whence".into())),
        };
        cursor.position = origin.checked_add_signed(offset).ok_or_else(|| {
            DriverError::InvalidArgument("invalid seek to a negative position".into())
        })?;
        Ok(cursor.position)
    }

    /// The position.
    pub(super) fn tell(&mut self) -> Result<u64> {
        Ok(self.reading()?.1.position)
    }

    /// Closes the file; one that is closed stays so. Returns the path that has a new content.
    ///
    /// # Errors
    ///
    /// The new content could not be completed, now or before. The file is as it was then, and closed.
    pub(super) async fn close(&mut self) -> Result<Option<StoragePath>> {
        match std::mem::replace(self, Self::Closed) {
            Self::Reading { .. } | Self::Closed => Ok(None),
            Self::Writing(upload) => {
                let path = upload.path().clone();
                blocking::start("finish an upload", move || upload.finish()).done().await?;
                Ok(Some(path))
            }
            Self::Failed { path, reason } => Err(DriverError::Device(format!(
                "'{path}' was not written and is as it was before: {reason}"
            ))),
        }
    }

    fn reading(&mut self) -> Result<(&StoragePath, &mut FileCursor)> {
        match self {
            Self::Reading { path, cursor } => Ok((path, cursor)),
            Self::Writing(_) | Self::Failed { .. } => {
                Err(DriverError::InvalidArgument(WRITE_ONLY.into()))
            }
            Self::Closed => Err(DriverError::InvalidArgument(CLOSED.into())),
        }
    }
}

const WRITE_ONLY: &str = "the file is open for writing only";
const READ_ONLY: &str = "the file is open for reading only";
const CLOSED: &str = "the file is closed";
