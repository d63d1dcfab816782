//! What one process leaves to the next.

use std::path::Path;

use exporter::lease::machine::journal::Progress;
use exporter::lease::machine::{EndReason, Prepared};
use exporter::store::{History, Recovery, RunStatus, Store};
use tempfile::TempDir;

use crate::records::{lease, one_of_each, open, wrote};

#[tokio::test]
async fn everything_that_was_committed_is_there_for_the_next_process() {
    let dir = TempDir::new().unwrap();
    let (writes, left) = one_of_each();
    // All at once or one by one makes no difference.
    for commits in [vec![writes.clone()], writes.iter().map(|write| vec![write.clone()]).collect()]
    {
        let dir = dir.path().join(commits.len().to_string());
        let (store, nothing) = open(&dir);
        assert_eq!(nothing, Recovery::default());
        for commit in commits {
            store.commit(commit).await;
        }
        drop(store);
        assert_eq!(open(&dir).1, left);
    }
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_a_failure_that_says_so() {
    let dir = TempDir::new().unwrap();
    let (writes, left) = one_of_each();
    let (store, _) = open(dir.path());
    store.commit(writes).await;
    drop(store);
    let (store, recovery) = open(dir.path());
    let id = left.unfinished_runs[0].id;
    let found = History::open(dir.path()).unwrap().find(&id.to_string()).unwrap();
    let ended = found[0].ended.clone().unwrap();
    assert_eq!((ended.status, ended.duration), (RunStatus::Failure, None));
    assert_eq!(ended.detail.as_deref(), Some("interrupted: the exporter ended while it ran"));
    assert_eq!(recovery.unfinished_runs[0].id, id);
    drop(store);
    assert_eq!(open(dir.path()).1.unfinished_runs, [], "it is told only once");
}

#[tokio::test]
async fn every_stage_of_a_lease_comes_back_as_it_was() {
    let dir = TempDir::new().unwrap();
    let prepared = Prepared::ALL.map(Progress::Prepared);
    let cleaning_up = EndReason::ALL.map(|reason| Progress::CleaningUp(Prepared::Failed, reason));
    for progress in [Progress::Preparing].into_iter().chain(prepared).chain(cleaning_up) {
        let (store, _) = open(dir.path());
        store.commit(vec![wrote("first", progress)]).await;
        drop(store);
        assert_eq!(open(dir.path()).1.lease, Some(lease("first", progress)));
    }
    let (store, _) = open(dir.path());
    store.commit(vec![wrote("first", Progress::Over)]).await;
    drop(store);
    assert_eq!(open(dir.path()).1.lease, None);
}

#[tokio::test]
async fn the_lease_that_was_over_last_is_known_to_be() {
    let dir = TempDir::new().unwrap();
    let returned = |dir: &Path| open(dir).1.returned.map(|lease| lease.name);
    assert_eq!(returned(dir.path()), None);
    for name in ["second", "first"] {
        let (store, _) = open(dir.path());
        store.commit(vec![wrote(name, Progress::Preparing)]).await;
        store.commit(vec![wrote(name, Progress::Over)]).await;
        drop(store);
        assert_eq!(returned(dir.path()).as_deref(), Some(name));
    }
    let (store, _) = open(dir.path());
    store.commit(vec![wrote("third", Progress::Preparing)]).await;
    drop(store);
    assert_eq!(returned(dir.path()).as_deref(), Some("first"), "the next has begun");
}

#[tokio::test]
async fn a_bench_has_one_lease_at_a_time() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    for name in ["first", "second"] {
        store.commit(vec![wrote(name, Progress::Preparing)]).await;
    }
    store.commit(vec![wrote("second", Progress::Over)]).await;
    drop(store);
    assert_eq!(open(dir.path()).1.lease, None);
}

#[tokio::test]
async fn a_store_that_keeps_nothing_answers_all_the_same() {
    let store = Store::none();
    store.commit(one_of_each().0).await;
}
