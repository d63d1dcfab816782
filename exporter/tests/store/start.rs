//! A state directory that can't be used gives one error that says why.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process;

use exporter::store::{History, Recovery, Store};
use nix::unistd::{Uid, setfsuid};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::records::{one_of_each, open, refusal};

/// A user who is not root, and whom every system has.
const NOBODY: u32 = 65534;

#[test]
fn a_directory_that_is_in_use() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    let second = store.clone();
    drop(store);
    let error = format!(
        "DIR: in use by process {}; an exporter runs only once, and each needs a state directory \
         of its own",
        process::id()
    );
    assert_eq!(refusal(dir.path()), error);
    drop(second);
    open(dir.path());
}

#[test]
fn a_directory_of_another_user() {
    let me = Uid::effective().as_raw();
    let dir = TempDir::new().unwrap();
    let (dir, owner) = if me == 0 {
        chown(dir.path(), Some(NOBODY), None).unwrap();
        (dir.path(), NOBODY)
    } else {
        (Path::new("/"), 0)
    };
    let error = Store::open(dir).unwrap_err().to_string();
    let path = dir.display();
    let expected = format!(
        "{path}: belongs to user {owner}, but this process runs as user {me}; run as its owner, or \
         give another --state-dir"
    );
    assert_eq!(error, expected);
}

#[test]
fn something_else_in_its_place() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("bench")] {
        let error = "DIR: not a directory; remove it, or give another --state-dir";
        assert_eq!(refusal(&path), error);
    }
}

#[test]
fn a_directory_that_may_not_be_written() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    // The lock can be taken, so that it is the database that is found to be read-only.
    let database = dir.path().join("store.sqlite3");
    fs::set_permissions(&database, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(dir.path().join("lock"), Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
    let error = as_ordinary_user(|| refusal(dir.path()));
    assert!(error.starts_with("DIR/store.sqlite3: can't be written ("), "{error}");
    fs::set_permissions(dir.path().join("lock"), Permissions::from_mode(0o444)).unwrap();
    let error = as_ordinary_user(|| refusal(dir.path()));
    let expected = "DIR/lock: can't be written (Permission denied (os error 13)); \
                    the state directory has to be writable for this user";
    assert_eq!(error, expected);
}

#[test]
fn a_reader_who_may_not_look_is_told_so() {
    let dir = TempDir::new().unwrap();
    let bench = dir.path().join("bench");
    drop(open(&bench));
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&bench, Permissions::from_mode(0o000)).unwrap();
    let error = as_ordinary_user(|| History::open(&bench).unwrap_err().to_string());
    let path = bench.join("store.sqlite3");
    assert_eq!(error, format!("{}: Permission denied (os error 13)", path.display()));
}

/// Does something without root's right to ignore permissions.
fn as_ordinary_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if Uid::effective().is_root() {
                // It counts for this thread alone.
                setfsuid(Uid::from_raw(NOBODY));
            }
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_full_disk() {
    let dir = TempDir::new().unwrap();
    symlink("/dev/full", dir.path().join("lock")).unwrap();
    let error = "DIR/lock: the disk is full; free some space there, or give another --state-dir";
    assert_eq!(refusal(dir.path()), error);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("store.sqlite3");
    let database = Connection::open(&path).unwrap();
    let known: u32 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let error = format!(
        "DIR/store.sqlite3: written by a newer hilt (schema 99; this one knows {known}); update \
         hilt, or give another --state-dir"
    );
    assert_eq!(refusal(dir.path()), error);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    store.commit(one_of_each().0).await;
    drop(store);
    let path = dir.path().join("store.sqlite3");
    let whole = fs::read(&path).unwrap();
    let tail = "move it away to start anew: then the drivers count as not yet installed, and \
                nothing is known of an interrupted lease";
    let mut scratched = whole.clone();
    scratched[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    for damaged in [b"#!/bin/sh\n".repeat(100), whole[..whole.len() / 2].to_vec(), scratched] {
        fs::write(&path, &damaged).unwrap();
        let error = refusal(dir.path());
        assert!(error.starts_with("DIR/store.sqlite3: damaged ("), "{error}");
        assert!(error.ends_with(tail), "{error}");
    }
    // The advice helps.
    fs::rename(&path, dir.path().join("damaged.sqlite3")).unwrap();
    assert_eq!(open(dir.path()).1, Recovery::default());
}

#[test]
fn a_fresh_directory_is_made_for_its_owner_alone() {
    let dir = TempDir::new().unwrap();
    let inner: PathBuf = dir.path().join("exporters/bench");
    open(&inner);
    assert_eq!(fs::metadata(inner).unwrap().permissions().mode() & 0o777, 0o700);
}
