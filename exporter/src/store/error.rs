//! Why a state directory can't be used.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::fault::VARIABLE;

/// Why a state directory can't be used: what is wrong, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{}: in use by {}; an exporter runs only once, and each needs a state directory of its own",
        dir.display(), pid.map_or("another process".into(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The process, if it has said.
        pid: Option<u32>,
    },
    /// It is not this user's.
    #[error(
        "{}: belongs to user {owner}, but this process runs as user {me}; \
         run as its owner, or give another --state-dir", dir.display()
    )]
    OtherOwner {
        /// The state directory.
        dir: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Something else is there.
    #[error("{}: not a directory; remove it, or give another --state-dir", path.display())]
    NotADirectory {
        /// What should be a directory.
        path: PathBuf,
    },
    /// Nothing may be written there.
    #[error(
        "{}: can't be written ({reason}); the state directory has to be writable for this user",
        path.display()
    )]
    ReadOnly {
        /// What can't be written.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No room is left.
    #[error("{}: the disk is full; free some space there, or give another --state-dir", path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// A later version of Hilt has been here.
    #[error(
        "{}: written by a newer hilt (schema {found}; this one knows {known}); \
         update hilt, or give another --state-dir", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest schema that this version knows.
        known: i64,
    },
    /// What is there is not a database, or no longer a whole one.
    #[error(
        "{}: damaged ({finding}); move it away to start anew: then the drivers count as not yet \
         installed, and nothing is known of an interrupted lease", path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        finding: String,
    },
    /// The system refuses something else.
    #[error("{}: {reason}", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The database refuses something else.
    #[error("{}: {reason}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it says.
        reason: rusqlite::Error,
    },
    /// The name in `HILT_FAULT_POINT` means nothing.
    #[error("{VARIABLE}: {0}")]
    FaultPoint(String),
}

impl StoreError {
    /// What an error of the file system means.
    pub(super) fn of_system(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let is = |kinds: &[ErrorKind]| kinds.contains(&source.kind());
        if is(&[ErrorKind::NotADirectory, ErrorKind::AlreadyExists]) {
            Self::NotADirectory { path }
        } else if is(&[ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem]) {
            Self::ReadOnly { path, reason: source.to_string() }
        } else if is(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
            Self::Full { path }
        } else {
            Self::Io { path, reason: source }
        }
    }

    /// What an error of the database means.
    pub(super) fn of_database(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path, reason: source.to_string() }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, finding: source.to_string() }
            }
            _ => Self::Database { path, reason: source },
        }
    }
}
