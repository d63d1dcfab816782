//! A directory that nothing leads out of, and what can be done below it.
//!
//! Every path is resolved by `cap-std`: name by name below the root's own descriptor, or by the
//! kernel with `openat2`. So a link that leads out is refused however the tree changes meanwhile,
//! which a check of the path beforehand can't promise. Links with absolute targets lead out.

use std::fs::File;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};

use super::path::{StoragePath, outside};
use super::upload::Upload;
use crate::{DriverError, Result};

/// The root directory of a storage. Everything here blocks.
#[derive(Debug)]
pub(super) struct Root(pub(super) Dir);

impl Root {
    /// Opens the directory, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || {
            Dir::create_ambient_dir_all(path, ambient_authority())?;
            Dir::open_ambient_dir(path, ambient_authority())
        };
        open().map(Self).map_err(|error| {
            DriverError::io(
                format!("open the storage's root directory '{}'", path.display()),
                error,
            )
        })
    }

    /// What is at the path, behind all links.
    pub(super) fn stat(&self, path: &StoragePath) -> Result<Metadata> {
        let metadata =
            self.0.metadata(path.relative()).map_err(|error| failed("stat", path, error))?;
        if path.is_directory() && !metadata.is_dir() {
            return Err(DriverError::NotFound(format!("stat '{path}': not a directory")));
        }
        Ok(metadata)
    }

    /// Whether there is something at the path.
    pub(super) fn exists(&self, path: &StoragePath) -> Result<bool> {
        match self.0.metadata(path.relative()) {
            Ok(metadata) => Ok(metadata.is_dir() || !path.is_directory()),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed("stat", path, error)),
        }
    }

    /// Opens a file for reading.
    pub(super) fn read(&self, path: &StoragePath) -> Result<File> {
        // Opening anything but a regular file may wait for another process.
        refuse_irregular(path, &self.stat(path)?)?;
        let file = self.0.open(path.relative()).map_err(|error| failed("open", path, error))?;
        Ok(file.into_std())
    }

    /// Copies a file, with its permissions. An existing target is replaced once the copy is complete.
    pub(super) fn copy(&self, source: &StoragePath, target: &StoragePath) -> Result<()> {
        refuse_same(source, target)?;
        let mut file = self.read(source)?;
        let mut copy = Upload::begin(self, target)?;
        let context = |error| failed("copy", source, error);
        let permissions = file.metadata().map_err(context)?.permissions();
        io::copy(&mut file, copy.file()).map_err(context)?;
        copy.file().set_permissions(permissions).map_err(context)?;
        copy.finish()
    }

    /// Moves a file or, written without a slash at the end, a directory.
    pub(super) fn rename(&self, source: &StoragePath, target: &StoragePath) -> Result<()> {
        refuse_same(source, target)?;
        refuse_directory(source)?;
        refuse_directory(target)?;
        self.0
            .symlink_metadata(source.relative())
            .map_err(|error| failed("rename", source, error))?;
        let target_path = Path::new(target.relative());
        self.create_parent(target_path).map_err(|error| failed("rename to", target, error))?;
        self.0
            .rename(source.relative(), &self.0, target_path)
            .map_err(|error| failed("rename", source, error))
    }

    /// Creates a directory, and those above it.
    pub(super) fn create_dir(&self, path: &StoragePath) -> Result<()> {
        if !path.is_directory() {
            return Err(DriverError::InvalidArgument(format!(
                "the path of a directory to create must end in '/', as in '{path}/'"
            )));
        }
        self.ensure_directory(Path::new(path.relative()))
            .map_err(|error| failed("create directory", path, error))
    }

    fn ensure_directory(&self, path: &Path) -> io::Result<()> {
        match self.0.metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if is_missing(&error) => self.0.create_dir_all(path),
            // Creating it would only say that something is there.
            Err(error) => Err(error),
        }
    }

    /// Deletes a file, a link or an empty directory. That it is there is not required.
    pub(super) fn delete(&self, path: &StoragePath) -> Result<()> {
        if path.is_root() {
            return Err(DriverError::InvalidArgument("the root directory can't be deleted".into()));
        }
        let deleted = self.0.symlink_metadata(path.relative()).and_then(|metadata| {
            if metadata.is_dir() {
                self.0.remove_dir(path.relative())
            } else {
                self.0.remove_file(path.relative())
            }
        });
        ignore_missing(deleted).map_err(|error| failed("delete", path, error))
    }

    /// Deletes what is at the path, with everything below. Of the root, everything below.
    pub(super) fn remove_all(&self, path: &StoragePath) -> Result<()> {
        let removed = if path.is_root() {
            self.0.entries().and_then(|entries| {
                entries.into_iter().try_for_each(|entry| self.remove(entry?.file_name()))
            })
        } else {
            self.remove(path.relative())
        };
        removed.map_err(|error| failed("remove", path, error))
    }

    fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        ignore_missing(self.0.symlink_metadata(path).and_then(|metadata| {
            if metadata.is_dir() { self.0.remove_dir_all(path) } else { self.0.remove_file(path) }
        }))
    }

    /// Creates the directories that are to hold `path`, and opens the innermost.
    pub(super) fn create_parent(&self, path: &Path) -> io::Result<Dir> {
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => {
                self.ensure_directory(parent)?;
                self.0.open_dir(parent)
            }
            None => self.0.try_clone(),
        }
    }
}

/// Sorts an error, and tells links that lead out from files that the exporter may not use.
pub(super) fn failed(what: &str, path: &StoragePath, error: io::Error) -> DriverError {
    // cap-std makes the error up itself, so it has no number.
    if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return outside(path);
    }
    if error.kind() == io::ErrorKind::NotFound {
        // Scripts look for this word, which OpenDAL begins its error with.
        return DriverError::NotFound(format!("NotFound: {what} '{path}': {error}"));
    }
    DriverError::io(format!("{what} '{path}'"), error)
}

/// Whether the error says that there is nothing at a path.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
}

/// Only regular files are read and replaced: a device node, say, must not turn into a file.
pub(super) fn refuse_irregular(path: &StoragePath, metadata: &Metadata) -> Result<()> {
    if metadata.is_dir() {
        Err(is_directory(path))
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(DriverError::InvalidArgument(format!("'{path}' is not a regular file")))
    }
}

fn refuse_directory(path: &StoragePath) -> Result<()> {
    if path.is_directory() { Err(is_directory(path)) } else { Ok(()) }
}

fn refuse_same(source: &StoragePath, target: &StoragePath) -> Result<()> {
    if source.names() == target.names() {
        return Err(DriverError::InvalidArgument(format!(
            "'{source}' and '{target}' are the same"
        )));
    }
    Ok(())
}

pub(super) fn is_directory(path: &StoragePath) -> DriverError {
    DriverError::InvalidArgument(format!("'{path}' is a directory"))
}
