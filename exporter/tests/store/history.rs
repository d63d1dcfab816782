//! Looking things up, while the exporter runs.

use exporter::config::export::Stage;
use exporter::config::hooks::LifecycleEvent;
use exporter::lease::machine::Phase;
use exporter::lease::machine::journal::Progress;
use exporter::store::{Filter, History, HookEvent, Output, RunBegun, RunStatus, Store, Write};
use tempfile::TempDir;

use crate::records::{begun, ended, lease, open, text, time, wrote};

const BEFORE: HookEvent = HookEvent::Lease(Phase::Before);
const AFTER: HookEvent = HookEvent::Lease(Phase::After);
const STOP: HookEvent = HookEvent::Exporter(LifecycleEvent::Stop);
const INSTALL: HookEvent = HookEvent::Driver(Stage::PreInstall);

/// A store with five runs, of which the last has not ended.
async fn recorded(dir: &TempDir) -> (Store, Vec<RunBegun>) {
    let (store, _) = open(dir.path());
    store.commit(vec![wrote("first", Progress::Preparing)]).await;
    let runs = [
        (INSTALL, "2200-03-01T00:00:00Z", Some(RunStatus::Success)),
        (BEFORE, "2200-03-02T00:00:00Z", Some(RunStatus::Failure)),
        (AFTER, "2200-03-03T00:00:00Z", Some(RunStatus::Timeout)),
        (STOP, "2200-03-04T00:00:00Z", Some(RunStatus::Success)),
        (STOP, "2200-03-05T00:00:00Z", None),
    ];
    let mut all = Vec::new();
    for (event, started, status) in runs {
        let mut run = begun(event, started);
        if event == INSTALL {
            run.lease = Some(lease("first", Progress::Over).0.id);
        }
        store.commit(vec![Write::RunBegun(run.clone())]).await;
        if let Some(status) = status {
            store.commit(vec![Write::RunEnded(ended(&run, status, started))]).await;
        }
        all.push(run);
    }
    (store, all)
}

#[tokio::test]
async fn a_filter_lets_through_what_it_says() {
    let dir = TempDir::new().unwrap();
    let (_store, all) = recorded(&dir).await;
    let history = History::open(dir.path()).unwrap();
    let any = Filter::default;
    let table: Vec<(Filter, &[usize])> = vec![
        (any(), &[4, 3, 2, 1, 0]),
        (Filter { event: Some(STOP), ..any() }, &[4, 3]),
        (Filter { event: Some(HookEvent::Repair), ..any() }, &[]),
        (Filter { lease: Some("first".into()), ..any() }, &[2, 1, 0]),
        (Filter { lease: Some("fir".into()), ..any() }, &[]),
        (Filter { driver: Some("board.power".into()), ..any() }, &[0]),
        (Filter { driver: Some("first".into()), ..any() }, &[]),
        (Filter { status: Some(RunStatus::Success), ..any() }, &[3, 0]),
        (Filter { status: Some(RunStatus::Timeout), ..any() }, &[2]),
        (Filter { since: Some(time("2200-03-03T00:00:00Z")), ..any() }, &[4, 3, 2]),
        (Filter { since: Some(time("2200-03-03T00:00:00.000000001Z")), ..any() }, &[4, 3]),
        (Filter { before: Some((all[2].started, all[2].id)), ..any() }, &[1, 0]),
        (Filter { limit: Some(2), ..any() }, &[4, 3]),
        (Filter { limit: Some(0), ..any() }, &[]),
        (
            Filter {
                event: Some(STOP),
                status: Some(RunStatus::Success),
                since: Some(time("2200-03-02T00:00:00Z")),
                before: Some((all[4].started, all[4].id)),
                limit: Some(1),
                ..any()
            },
            &[3],
        ),
        (Filter { lease: Some("first".into()), driver: Some("board.power".into()), ..any() }, &[0]),
    ];
    for (filter, expected) in table {
        let found: Vec<_> =
            history.runs(&filter).unwrap().into_iter().map(|run| run.begun).collect();
        let expected: Vec<_> = expected.iter().map(|number| all[*number].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_id() {
    let dir = TempDir::new().unwrap();
    let (_store, all) = recorded(&dir).await;
    let history = History::open(dir.path()).unwrap();
    let id = all[1].id.to_string();
    for prefix in [&id[..12], &id.to_uppercase()[..20], &id] {
        let found = history.find(prefix).unwrap();
        let [run] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&run.begun, run.lease_name.as_deref()), (&all[1], Some("first")));
        let end = run.ended.clone().unwrap();
        assert_eq!((end.status, end.exit_code), (RunStatus::Failure, Some(3)));
        assert_eq!(end.duration.unwrap().as_micros(), 1_234_567);
    }
    assert_eq!(history.find("").unwrap().len(), 2, "enough to see that it is not unique");
    assert_eq!(history.find("%").unwrap(), []);
    assert_eq!(history.output(all[1].id).unwrap(), text("2200-03-02T00:00:00Z"));
    assert_eq!(history.output(all[4].id).unwrap(), Output::default());
}

#[tokio::test]
async fn the_full_output_comes_back_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let (store, _) = open(dir.path());
    let run = begun(STOP, "2200-03-04T00:00:00Z");
    let mut end = ended(&run, RunStatus::Success, &"\u{1b}[1mnul\0 €\n".repeat(200_000));
    assert!(end.output.omitted > 0);
    end.signal = Some(9);
    end.detail = Some("cancelled".into());
    store.commit(vec![Write::RunBegun(run.clone()), Write::RunEnded(end.clone())]).await;
    let history = History::open(dir.path()).unwrap();
    assert_eq!(history.output(run.id).unwrap(), end.output);
    let ended = history.runs(&Filter::default()).unwrap()[0].ended.clone().unwrap();
    assert_eq!((ended.signal, ended.detail.as_deref()), (Some(9), Some("cancelled")));
}

#[test]
fn where_nothing_was_ever_kept_there_is_nothing() {
    let dir = TempDir::new().unwrap();
    for dir in [dir.path().to_owned(), dir.path().join("missing")] {
        let history = History::open(&dir).unwrap();
        assert_eq!(history.runs(&Filter::default()).unwrap(), []);
        assert_eq!(history.find("").unwrap(), []);
        assert!(!dir.join("store.sqlite3").exists(), "a reader leaves nothing behind");
    }
}
