//! A store that breaks while it is in use is mended without anybody's help.

use std::fs;
use std::path::Path;

use exporter::config::hooks::LifecycleEvent;
use exporter::store::{Filter, History, HookEvent, Recovery, Run, RunStatus, Write};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::records::{begun, ended, one_of_each, open, text};

fn runs(dir: &Path) -> Vec<Run> {
    History::open(dir).unwrap().runs(&Filter::default()).unwrap()
}

#[tokio::test]
async fn a_directory_that_is_deleted_comes_back_with_all_that_matters() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("bench");
    let (store, _) = open(&dir);
    let (writes, left) = one_of_each();
    store.commit(writes).await;
    fs::remove_dir_all(&dir).unwrap();
    store.commit(vec![Write::FailuresInARow(3)]).await;
    // It is locked as before.
    assert!(exporter::store::Store::open(&dir).is_err());
    drop(store);
    assert_eq!(open(&dir).1, Recovery { failures: 3, ..left });
}

#[tokio::test]
async fn a_database_that_is_swapped_for_another_is_brought_up_to_date() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    let path = dir.path().join("store.sqlite3");
    let (writes, left) = one_of_each();
    store.commit(writes).await;
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(dir.path().join(format!("store.sqlite3{suffix}"))).unwrap();
    }
    fs::write(&path, "").unwrap();
    store.commit(vec![]).await;
    drop(store);
    assert_eq!(open(dir.path()).1, left);
}

#[tokio::test]
async fn what_happens_while_nothing_can_be_written_is_written_later() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    let (writes, left) = one_of_each();
    let (first, second) = (
        begun(HookEvent::Exporter(LifecycleEvent::Stop), "2200-03-04T06:00:00Z"),
        begun(HookEvent::Exporter(LifecycleEvent::Down), "2200-03-04T06:00:01Z"),
    );
    store.commit(vec![Write::RunBegun(first.clone())]).await;

    let intruder = Connection::open(dir.path().join("store.sqlite3")).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.commit(writes).await;
    store.commit(vec![Write::RunEnded(ended(&first, RunStatus::Success, "saved\n"))]).await;
    store.commit(vec![Write::RunBegun(second.clone())]).await;
    store.commit(vec![Write::RunEnded(ended(&second, RunStatus::Timeout, "slow\n"))]).await;
    assert_eq!(runs(dir.path()).len(), 1);
    drop(intruder);

    // It doesn't take a further commit.
    while runs(dir.path()).len() < 4 {
        tokio::task::yield_now().await;
    }
    drop(store);
    let history = History::open(dir.path()).unwrap();
    assert_eq!(history.output(first.id).unwrap(), text("saved\n"));
    assert_eq!(history.output(second.id).unwrap(), text("slow\n"));
    assert_eq!(open(dir.path()).1, left);
}
