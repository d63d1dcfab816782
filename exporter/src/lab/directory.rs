//! What a lab keeps in the state directory.
//!
//! ```text
//! STATE/lab/store.sqlite3        clients and leases
//!           lock                 held while the lab is served
//!           token.key            what tokens are signed with
//!           ca.key, ca.pem       what the lab's own certificates are signed with
//!           served.json          where it is served, for those who add clients
//! ```
//!
//! All of it is for its owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A lab's part of a state directory.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

/// Where a lab is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// `HOST:PORT`, as clients of other hosts reach it.
    pub address: String,
    /// The names and addresses that its certificate is for; empty where that was given.
    pub names: Vec<String>,
    /// The certificates that clients have to trust, in PEM.
    pub ca: String,
}

/// The right to serve a lab, for as long as it is kept.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why it can't be used: which file, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system refuses.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Another process serves it.
    #[error("{}: another process serves this lab; give another --state-dir", .0.display())]
    Locked(PathBuf),
    /// A secret that others can read is none.
    #[error("{}: mode {mode:04o} lets others than its owner in; use `chmod 600`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not what it should be.
    #[error("{}: {finding}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        finding: String,
    },
}

impl Directory {
    /// The part of a state directory, which is made if it is not there.
    pub fn open(state_dir: &Path) -> Result<Self, DirectoryError> {
        let path = state_dir.join("lab");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|reason| DirectoryError::Io { path: path.clone(), reason })?;
        Ok(Self(path))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the right to serve.
    pub fn lock(&self) -> Result<Lock, DirectoryError> {
        let path = self.file("lock");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|reason| DirectoryError::Io { path: path.clone(), reason })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked(self.0.clone())),
            Err(TryLockError::Error(reason)) => Err(DirectoryError::Io { path, reason }),
        }
    }

    /// A secret, which is made on first use.
    pub fn secret(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, DirectoryError> {
        let path = self.file(name);
        let system = |reason| DirectoryError::Io { path: path.clone(), reason };
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let mode = found.permissions().mode() & 0o7777;
                return Err(DirectoryError::Exposed { path, mode });
            }
            Ok(_) => return fs::read(&path).map_err(system),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        let secret =
            make().map_err(|finding| DirectoryError::Damaged { path: path.clone(), finding })?;
        write(&path, &secret).map_err(system)?;
        Ok(secret)
    }

    /// Tells others where the lab is served.
    pub fn tell(&self, served: &Served) -> Result<(), DirectoryError> {
        let path = self.file("served.json");
        let text = serde_json::to_vec_pretty(served).unwrap_or_default();
        write(&path, &text).map_err(|reason| DirectoryError::Io { path, reason })
    }

    /// Where the lab is or was served; none if it never was.
    pub fn served(&self) -> Result<Option<Served>, DirectoryError> {
        let path = self.file("served.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                DirectoryError::Damaged { path, finding: format!("{error}; remove it") }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => Err(DirectoryError::Io { path, reason }),
        }
    }
}

/// Writes a file that only its owner may read. It is there as a whole or not at all.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    // Its mode is 0600 from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner() {
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::open(state.path()).unwrap();
        let secret = directory.secret("key", || Ok(b"one".to_vec())).unwrap();
        assert_eq!(secret, b"one");
        let again = directory.secret("key", || Ok(b"two".to_vec())).unwrap();
        assert_eq!(again, b"one");
        let path = directory.file("key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = directory.secret("key", || Ok(Vec::new())).unwrap_err();
        assert!(refused.to_string().contains("mode 0640"), "{refused}");
    }

    #[test]
    fn only_one_process_serves_a_lab() {
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::open(state.path()).unwrap();
        let lock = directory.lock().unwrap();
        assert!(matches!(directory.lock(), Err(DirectoryError::Locked(_))));
        drop(lock);
        directory.lock().unwrap();
    }

    #[test]
    fn where_it_is_served_is_known_to_others() {
        let state = tempfile::tempdir().unwrap();
        let directory = Directory::open(state.path()).unwrap();
        assert_eq!(directory.served().unwrap(), None);
        let served =
            Served { address: "lab:8082".into(), names: vec!["lab".into()], ca: "PEM".into() };
        directory.tell(&served).unwrap();
        assert_eq!(directory.served().unwrap(), Some(served));
    }
}
