//! Opening a device that may not be plugged in yet, or again.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::time::{Instant, timeout_at};

use super::device::{Claim, Device, Line, Tty};
use crate::{DriverError, Result, blocking, readiness};

/// How long opening a device that is there may take; behind USB it is a few transfers.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Opens a device; if it is not there, waits for it for as long as `patience` says.
///
/// Nothing is polled: every change in the directories that the path leads through is a reason to
/// try again.
pub(super) async fn open(
    path: &str,
    line: Line,
    claim: &Claim,
    patience: Duration,
) -> Result<Device> {
    match attempt(path, line, claim).await {
        Err(DriverError::NotFound(_)) if !patience.is_zero() => {}
        outcome => return outcome,
    }
    tracing::info!("waiting up to {patience:?} for {path} to come back");
    let deadline = Instant::now() + patience;
    loop {
        // Watching comes first, so that no change falls between the attempt and the wait.
        let change = Change::watch(path).await?;
        let error = match attempt(path, line, claim).await {
            Err(error) if error.may_pass() => error,
            outcome => return outcome,
        };
        if timeout_at(deadline, change.happens()).await.is_err() {
            return Err(error);
        }
    }
}

async fn attempt(path: &str, line: Line, claim: &Claim) -> Result<Device> {
    let what = format!("open {path}");
    let (path, claim) = (path.to_owned(), Claim::clone(claim));
    let tty = blocking::run(&what, OPEN_LIMIT, move || Tty::open(&path, line, &claim)).await?;
    Device::tty(tty).map_err(|error| DriverError::io(what, error))
}

/// A change that may bring a device.
#[derive(Debug)]
pub(super) struct Change(OwnedFd);

impl Change {
    /// Begins to watch for a device.
    pub(super) async fn watch(path: &str) -> Result<Self> {
        let (what, path) = (format!("watch for {path}"), path.to_owned());
        let context = what.clone();
        blocking::run(&what, OPEN_LIMIT, move || match watch(Path::new(&path)) {
            Ok(changes) => Ok(Self(changes)),
            Err(error) => Err(DriverError::io(context, error.into())),
        })
        .await
    }

    /// Waits for it. What has changed does not matter: trying again tells.
    pub(super) async fn happens(self) {
        match readiness::watch(self.0) {
            Ok(changes) => drop(changes.readable().await.map(|mut ready| ready.retain_ready())),
            // Then there is nothing to wait for but time.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Watches every directory in which something has to change before the path leads to a device.
fn watch(path: &Path) -> nix::Result<OwnedFd> {
    let changes = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    for directory in directories(path) {
        let events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        match changes.add_watch(&directory, events) {
            // It has gone since, or it is closed to us: then another one will change, or none.
            Ok(_) | Err(nix::Error::ENOENT | nix::Error::EACCES) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changes.into())
}

/// The deepest existing directory of the path, and if it is a symbolic link, also of where that
/// leads, and so on: `/dev/serial/by-id/` and its links come and go with the devices.
fn directories(path: &Path) -> Vec<PathBuf> {
    /// As many links as the kernel follows.
    const LINKS: usize = 40;
    let mut directories = Vec::new();
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        directories
            .extend(parent.ancestors().find(|ancestor| ancestor.is_dir()).map(Path::to_owned));
        match std::fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => break,
        }
    }
    directories
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_that_matters_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("dev")).unwrap();
        symlink("dev/by-id/console", root.join("console")).unwrap();
        assert_eq!(directories(&root.join("console")), [root.to_owned(), root.join("dev")]);
        std::fs::create_dir(root.join("dev/by-id")).unwrap();
        symlink("../ttyUSB0", root.join("dev/by-id/console")).unwrap();
        assert_eq!(
            directories(&root.join("console")),
            [root.to_owned(), root.join("dev/by-id"), root.join("dev/by-id/..")]
        );
        assert_eq!(directories(Path::new("ttyUSB0")), [Path::new(".")]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("console", folder.path().join("console")).unwrap();
        assert_eq!(directories(&folder.path().join("console")).len(), 40);
    }
}
