//! What is below a path.

use std::sync::Arc;

use futures_util::{StreamExt as _, future, stream};
use serde_json::Value;
use tokio::sync::mpsc;

use super::path::StoragePath;
use super::root::{Root, failed, is_missing};
use crate::Result;
use crate::blocking;
use crate::driver::Items;

/// How many paths are found ahead of the client.
const AHEAD: usize = 64;

/// How far down a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// To the directory's own entries.
    Entries,
    /// To the bottom.
    Everything,
}

/// The paths below `path`, in the order of their names, directories with a slash at the end.
///
/// A directory comes first itself, then what is in it. A path without a slash at the end stands for
/// everything whose path begins with it: a client that lists `a` sees the directory `a/`, not its
/// entries. Links are not followed. Nothing there is no error.
pub(super) fn list(root: Arc<Root>, path: StoragePath, depth: Depth) -> Items {
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let walk = blocking::start("list the storage", move || {
        // A client that has gone away ends the walk.
        walk(&root, &path, depth, |found| sender.blocking_send(found.to_string()).is_ok())
    });
    let found = stream::poll_fn(move |cx| receiver.poll_recv(cx)).map(|path| Ok(Value::from(path)));
    let end = stream::once(walk.done()).filter_map(|end| future::ready(end.err().map(Err)));
    found.chain(end).boxed()
}

/// Tells of one path after the other, as long as `tell` wants more.
fn walk(
    root: &Root,
    path: &StoragePath,
    depth: Depth,
    mut tell: impl FnMut(&StoragePath) -> bool,
) -> Result<()> {
    // The next one last.
    let mut pending = match path.split() {
        Some((parent, prefix)) if !path.is_directory() => {
            let mut entries = entries(root, &parent)?;
            let prefix = parent.entry(prefix, false);
            entries.retain(|entry| entry.names().starts_with(prefix.names()));
            entries
        }
        Some(_) | None if root.exists(path)? => vec![path.clone()],
        Some(_) | None => Vec::new(),
    };
    while let Some(found) = pending.pop() {
        if !tell(&found) {
            break;
        }
        if found.is_directory() && (depth == Depth::Everything || found == *path) {
            pending.extend(entries(root, &found)?);
        }
    }
    Ok(())
}

/// The entries of a directory, the last name first. One that has just been removed has none.
fn entries(root: &Root, directory: &StoragePath) -> Result<Vec<StoragePath>> {
    let read = || {
        root.0
            .read_dir(directory.relative())?
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name();
                Ok(directory.entry(&name.to_string_lossy(), entry.file_type()?.is_dir()))
            })
            .collect::<Result<Vec<_>, std::io::Error>>()
    };
    match read() {
        Ok(mut entries) => {
            entries.sort_by(|one, other| other.names().cmp(one.names()));
            Ok(entries)
        }
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(failed("list", directory, error)),
    }
}
