//! A file on its way into a storage.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, PermissionsExt as _};
use uuid::Uuid;

use super::path::StoragePath;
use super::root::{Root, failed, is_directory, is_missing, refuse_irregular};
use crate::Result;

/// A new content for a file, in a temporary file beside it.
///
/// The file itself is as it was, or not there, until [`finish`](Self::finish) puts the new content
/// in its place, complete and on the disk. An upload that is dropped leaves nothing behind, but for
/// the directories above it.
#[derive(Debug)]
pub(super) struct Upload {
    path: StoragePath,
    /// The directory that the file is in, whatever its path will be by then.
    directory: Dir,
    name: OsString,
    /// The temporary file's name, until it is the file.
    temporary: Option<String>,
    file: File,
}

impl Upload {
    /// Begins the upload of a new file, or of a new content for the one that is there. If that is a
    /// link, the file behind it is meant. Creates the directories above.
    pub(super) fn begin(root: &Root, path: &StoragePath) -> Result<Self> {
        let context = |error| failed("write", path, error);
        let behind_links = match root.0.canonicalize(path.relative()) {
            Ok(existing) => existing,
            Err(error) if is_missing(&error) => PathBuf::from(path.relative()),
            Err(error) => return Err(context(error)),
        };
        let replaced = match root.0.metadata(&behind_links) {
            Ok(metadata) => {
                refuse_irregular(path, &metadata)?;
                Some(metadata)
            }
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(context(error)),
        };
        let (false, Some(name)) = (path.is_directory(), behind_links.file_name()) else {
            return Err(is_directory(path));
        };
        let directory = root.create_parent(&behind_links).map_err(context)?;
        let temporary = format!(".upload-{}", Uuid::new_v4());
        let file = directory
            .open_with(&temporary, OpenOptions::new().write(true).create_new(true))
            .map_err(context)?
            .into_std();
        let upload = Self {
            path: path.clone(),
            directory,
            name: name.to_owned(),
            temporary: Some(temporary),
            file,
        };
        if let Some(replaced) = replaced {
            upload.take_after(&replaced).map_err(context)?;
        }
        Ok(upload)
    }

    /// Takes over the owner, if the exporter may give files away, and the permissions.
    fn take_after(&self, replaced: &Metadata) -> io::Result<()> {
        match fchown(&self.file, Some(replaced.uid()), Some(replaced.gid())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.file.set_permissions(Permissions::from_mode(replaced.permissions().mode()))
    }

    /// What has been written so far.
    pub(super) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The file's path.
    pub(super) const fn path(&self) -> &StoragePath {
        &self.path
    }

    /// Puts the new content in the file's place.
    pub(super) fn finish(mut self) -> Result<()> {
        self.put_in_place().map_err(|error| failed("write", &self.path, error))
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        // Once: the kernel reports a failed sync only to the first who asks.
        self.file.sync_all()?;
        if let Some(temporary) = &self.temporary {
            self.directory.rename(temporary, &self.directory, Path::new(&self.name))?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = self.directory.remove_file(&temporary)
        {
            tracing::warn!(%error, "can't remove the incomplete upload {temporary} of '{}'", self.path);
        }
    }
}
