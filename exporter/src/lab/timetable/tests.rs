use super::*;
use crate::lab::selector::Labels;
use crate::lab::terms::Wanted;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn bench(board: &str) -> Bench {
    let labels = Labels::from([("board".to_owned(), board.to_owned())]);
    Bench { labels, presence: Presence::Ready, lease: None }
}

/// A lease of a minute for any board that `selector` says.
pub(super) fn lease(name: &str, selector: &str, created: i64) -> Lease {
    let duration = Some(jiff::SignedDuration::from_secs(60));
    Lease {
        name: name.into(),
        client: "ann".into(),
        selector: selector.parse().unwrap(),
        exporter_name: None,
        allow_disabled: false,
        terms: Wanted { duration, ..Wanted::default() }.complete().unwrap(),
        tags: [].into(),
        context: [].into(),
        created: at(created),
        stage: Stage::Scheduled,
        deleted: false,
    }
}

/// Exporters `a` and `b` with board `x`, and `c` with board `y`.
fn timetable() -> Timetable {
    let benches = [("a", "x"), ("b", "x"), ("c", "y")];
    let benches = benches.map(|(name, board)| (name.to_owned(), bench(board)));
    Timetable::restored(benches.into(), Vec::new(), at(0)).0
}

fn exporter<'a>(timetable: &'a Timetable, name: &str) -> Option<&'a str> {
    timetable.leases.get(name)?.hold().map(|hold| hold.exporter.as_str())
}

fn how(changes: &Changes, name: &str) -> Option<How> {
    changes.leases.iter().find(|lease| lease.name == name).and_then(|lease| match &lease.stage {
        Stage::Ended { how, .. } => Some(how.clone()),
        Stage::Scheduled | Stage::Waiting | Stage::Held(_) => None,
    })
}

#[test]
fn a_lease_gets_a_free_exporter_at_once() {
    let mut timetable = timetable();
    let changes = timetable.create(lease("one", "board=x", 1), at(1));
    assert_eq!(exporter(&timetable, "one"), Some("a"));
    assert_eq!(changes.benches, ["a".to_owned()].into());
    assert_eq!(changes.leases.len(), 1, "{changes:?}");
    timetable.create(lease("two", "board=x", 2), at(2));
    assert_eq!(exporter(&timetable, "two"), Some("b"));
    assert_eq!(timetable.tenant("b").unwrap().name, "two");
}

#[test]
fn who_came_first_is_served_first_and_at_once() {
    let mut timetable = timetable();
    for (name, second) in [("one", 1), ("two", 2), ("three", 3), ("four", 4)] {
        timetable.create(lease(name, "board=x", second), at(second));
    }
    assert_eq!(timetable.obstacle(&timetable.leases["three"]).reason, "NotAvailable");
    timetable.follow("a", Presence::Busy, at(5));
    let changes = timetable.release("one", true, at(6));
    assert_eq!(how(&changes, "one"), Some(How::Released));
    assert_eq!(timetable.tenant("a"), None, "it is being cleaned up");
    let changes = timetable.follow("a", Presence::Ready, at(7));
    assert_eq!(exporter(&timetable, "three"), Some("a"));
    assert_eq!(changes.leases.len(), 1);
    assert_eq!(exporter(&timetable, "four"), None);
}

#[test]
fn a_lease_that_nobody_waits_for_does_not_block_those_behind_it() {
    let mut timetable = timetable();
    timetable.create(lease("y-1", "board=y", 1), at(1));
    timetable.create(lease("y-2", "board=y", 2), at(2));
    timetable.create(lease("x", "board=x", 3), at(3));
    assert_eq!(exporter(&timetable, "x"), Some("a"));
}

#[test]
fn a_lease_ends_when_its_time_is_up_and_no_sooner() {
    let mut timetable = timetable();
    timetable.create(lease("one", "board=y", 10), at(10));
    assert_eq!(timetable.next_alarm(), Some(at(70)));
    assert_eq!(timetable.advance(at(69)), Changes::default());
    let changes = timetable.advance(at(70));
    assert_eq!(how(&changes, "one"), Some(How::Expired));
    assert_eq!(changes.benches, ["c".to_owned()].into());
    assert!(timetable.leases.is_empty() && timetable.alarms.is_empty());
}

#[test]
fn a_scheduled_lease_waits_for_its_time_and_then_for_its_turn() {
    let mut timetable = timetable();
    let mut later = lease("later", "board=y", 0);
    later.terms =
        Wanted { begin: Some(at(100)), end: Some(at(200)), duration: None }.complete().unwrap();
    timetable.create(later, at(0));
    assert_eq!(timetable.leases["later"].stage, Stage::Scheduled);
    timetable.create(lease("now", "board=y", 90), at(90));
    timetable.create(lease("next", "board=y", 95), at(95));
    timetable.advance(at(100));
    assert_eq!(timetable.leases["later"].stage, Stage::Waiting);
    timetable.release("now", true, at(101));
    assert_eq!(exporter(&timetable, "next"), Some("c"), "it came before the other's time");
    let changes = timetable.advance(at(155));
    assert_eq!(changes, Changes::default());
    timetable.release("next", true, at(155));
    assert_eq!(exporter(&timetable, "later"), Some("c"));
    assert_eq!(how(&timetable.advance(at(200)), "later"), Some(How::Expired));
}

#[test]
fn a_lease_whose_time_passes_in_the_queue_is_told_so() {
    let mut timetable = timetable();
    timetable.create(lease("one", "board=y", 0), at(0));
    let mut late = lease("late", "board=y", 1);
    late.terms =
        Wanted { begin: Some(at(1)), end: Some(at(30)), duration: None }.complete().unwrap();
    timetable.create(late, at(1));
    let changes = timetable.advance(at(30));
    let Some(How::Unsatisfiable(refusal)) = how(&changes, "late") else { panic!("{changes:?}") };
    assert!(!refusal.message.contains("expired"), "clients would log in again");
}

#[test]
fn what_no_exporter_can_satisfy_is_over_at_once() {
    let mut timetable = timetable();
    let mut reason = |name: &str, selector: &str, exporter_name: Option<&str>| {
        let wanted = Lease {
            exporter_name: exporter_name.map(ToOwned::to_owned),
            ..lease(name, selector, 0)
        };
        let changes = timetable.create(wanted, at(0));
        match how(&changes, name) {
            Some(How::Unsatisfiable(refusal)) => refusal.reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason("one", "board=z", None), "NoAccess");
    assert_eq!(reason("two", "", Some("d")), "ExporterNotFound");
    assert_eq!(reason("three", "board=y", Some("a")), "SelectorMismatch");
    assert!(timetable.leases.is_empty());
}

#[test]
fn the_obstacle_is_named() {
    let mut timetable = timetable();
    timetable.follow("c", Presence::Offline, at(0));
    timetable.create(lease("one", "board=y", 0), at(0));
    let obstacle = |timetable: &Timetable| timetable.obstacle(&timetable.leases["one"]).reason;
    assert_eq!(obstacle(&timetable), "Offline");
    timetable.follow("c", Presence::Busy, at(1));
    assert_eq!(obstacle(&timetable), "NotReady");
}

#[test]
fn a_longer_or_shorter_duration_counts_at_once() {
    let mut timetable = timetable();
    timetable.create(lease("one", "board=y", 0), at(0));
    let seconds = |seconds| {
        let duration = Some(jiff::SignedDuration::from_secs(seconds));
        Wanted { duration, ..Wanted::default() }.complete().unwrap()
    };
    timetable.retime("one", seconds(600), at(30));
    assert_eq!(timetable.next_alarm(), Some(at(600)));
    assert_eq!(exporter(&timetable, "one"), Some("c"), "it keeps its exporter");
    let changes = timetable.retime("one", seconds(10), at(30));
    assert_eq!(how(&changes, "one"), Some(How::Expired));
    assert_eq!(timetable.next_alarm(), None);
}

#[test]
fn other_labels_count_for_those_who_wait() {
    let mut timetable = timetable();
    for (name, selector) in [("one", "board=y"), ("two", "board=y"), ("three", "board=y")] {
        timetable.create(lease(name, selector, 0), at(0));
    }
    timetable.relabel("a", bench("y").labels, at(1));
    assert_eq!(exporter(&timetable, "three").or(exporter(&timetable, "two")), Some("a"));
    timetable.relabel("a", bench("x").labels, at(2));
    let changes = timetable.relabel("c", bench("x").labels, at(3));
    assert_eq!(changes.leases.len(), 1, "one waits for nothing now: {changes:?}");
    assert_eq!(timetable.leases.len(), 2, "who has an exporter keeps it");
}

#[test]
fn a_transfer_is_told_to_the_exporter() {
    let mut timetable = timetable();
    timetable.create(lease("one", "board=y", 0), at(0));
    let changes = timetable.transfer("one", "bob");
    assert_eq!(changes.leases[0].client, "bob");
    assert_eq!(changes.benches, ["c".to_owned()].into());
    assert_eq!(timetable.transfer("gone", "bob"), Changes::default());
}

#[test]
fn a_restart_changes_nothing_but_what_has_become_due() {
    let mut before = timetable();
    for (name, second) in [("one", 0), ("two", 1), ("three", 2), ("four", 3)] {
        before.create(lease(name, "board=x", second), at(second));
    }
    let kept: Vec<_> = before.leases.values().cloned().collect();
    let benches: BTreeMap<_, _> = before
        .benches
        .iter()
        .map(|(name, bench)| (name.clone(), Bench { lease: None, ..bench.clone() }))
        .collect();
    let (same, changes) = Timetable::restored(benches.clone(), kept.clone(), at(4));
    assert_eq!(changes.benches, ["a".to_owned(), "b".to_owned()].into(), "they are told again");
    assert_eq!(
        (&same.leases, &same.queue, &same.alarms),
        (&before.leases, &before.queue, &before.alarms)
    );
    assert_eq!(same.benches, before.benches);

    let (after, changes) = Timetable::restored(benches, kept, at(60));
    assert_eq!(how(&changes, "one"), Some(How::Expired));
    assert_eq!(exporter(&after, "three"), Some("a"), "who waited has it now");
}
