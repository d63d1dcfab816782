//! What holds after whatever happens, in whichever order.

use proptest::prelude::*;

use super::tests::{at, bench, lease};
use super::*;
use crate::lab::terms::Wanted;

#[derive(Debug, Clone)]
enum Happening {
    Create { board: usize, begin: Option<i64>, duration: i64 },
    Release(usize),
    Retime(usize, i64),
    Follow(usize, Presence),
    Lose(usize),
    Welcome(usize, usize, Presence),
    Wait(i64),
    Restart,
}

const BOARDS: [&str; 3] = ["x", "y", "z"];
const EXPORTERS: [&str; 4] = ["a", "b", "c", "d"];

fn happening() -> impl Strategy<Value = Happening> {
    let presence =
        prop_oneof![Just(Presence::Offline), Just(Presence::Busy), Just(Presence::Ready)];
    let arriving = prop_oneof![Just(Presence::Busy), Just(Presence::Ready)];
    prop_oneof![
        4 => (0..3usize, proptest::option::of(0..50i64), 1..100i64)
            .prop_map(|(board, begin, duration)| Happening::Create { board, begin, duration }),
        2 => (0..40usize).prop_map(Happening::Release),
        1 => ((0..40usize), 1..100i64).prop_map(|(which, to)| Happening::Retime(which, to)),
        3 => (0..4usize, presence).prop_map(|(which, presence)| Happening::Follow(which, presence)),
        1 => (0..4usize).prop_map(Happening::Lose),
        1 => (0..5usize, 0..3usize, arriving)
            .prop_map(|(which, board, presence)| Happening::Welcome(which, board, presence)),
        3 => (0..30i64).prop_map(Happening::Wait),
        1 => Just(Happening::Restart),
    ]
}

fn start() -> Timetable {
    let benches = EXPORTERS.iter().enumerate();
    let benches = benches.map(|(place, name)| ((*name).to_owned(), bench(BOARDS[place % 2])));
    Timetable::restored(benches.collect(), Vec::new(), at(0)).0
}

/// What holds between any two calls.
fn check(timetable: &Timetable, now: Timestamp) {
    for (name, lease) in &timetable.leases {
        assert_eq!((name, lease.has_ended()), (&lease.name, false));
        let holders = timetable.benches.values().filter(|it| it.lease.as_ref() == Some(name));
        assert_eq!(holders.count(), usize::from(lease.hold().is_some()));
        assert!(lease.end().is_none_or(|end| end > now), "over, but still there: {lease:?}");
        let is_queued = timetable.queue.iter().any(|(_, queued)| queued == name);
        assert_eq!(is_queued, lease.stage == Stage::Waiting);
        if lease.stage == Stage::Waiting {
            let wanted = |(exporter, bench): (&String, &Bench)| {
                bench.is_free() && lease.wants(exporter, &bench.labels)
            };
            assert!(!timetable.benches.iter().any(wanted), "waits for what is free: {lease:?}");
        }
        if lease.stage == Stage::Scheduled {
            assert!(lease.queued() > now);
        }
    }
    for bench in timetable.benches.values() {
        assert!(bench.lease.as_ref().is_none_or(|name| timetable.leases.contains_key(name)));
    }
    assert!(timetable.next_alarm().is_none_or(|alarm| alarm > now));
    assert!(timetable.alarms.len() <= timetable.leases.len());
    assert!(timetable.queue.len() <= timetable.leases.len());
}

proptest! {
    #[test]
    fn nobody_waits_for_what_is_free_and_nothing_has_two_tenants(
        happenings in proptest::collection::vec(happening(), 0..60)
    ) {
        let (mut timetable, mut now, mut next) = (start(), 0, 0);
        for happening in happenings {
            match happening {
                Happening::Create { board, begin, duration } => {
                    let board = format!("board={}", BOARDS[board]);
                    let duration = Some(jiff::SignedDuration::from_secs(duration));
                    let begin = begin.map(|begin| at(now + begin));
                    let wanted = Wanted { begin, end: None, duration };
                    let name = format!("lease-{next}");
                    let new = Lease { terms: wanted.complete().unwrap(), ..lease(&name, &board, now) };
                    let changes = timetable.create(new, at(now));
                    prop_assert!(changes.leases.iter().any(|lease| lease.name == name));
                    next += 1;
                }
                Happening::Release(which) => {
                    timetable.release(&format!("lease-{which}"), true, at(now));
                }
                Happening::Retime(which, to) => {
                    let duration = Some(jiff::SignedDuration::from_secs(to));
                    let terms = Wanted { duration, ..Wanted::default() }.complete().unwrap();
                    timetable.retime(&format!("lease-{which}"), terms, at(now));
                }
                Happening::Follow(which, presence) => {
                    timetable.follow(EXPORTERS[which], presence, at(now));
                }
                Happening::Lose(which) => {
                    timetable.lose(EXPORTERS[which], at(now));
                    prop_assert!(timetable.tenant(EXPORTERS[which]).is_none());
                }
                Happening::Welcome(which, board, presence) => {
                    let name = EXPORTERS.get(which).copied().unwrap_or("e");
                    let labels = bench(BOARDS[board]).labels;
                    timetable.welcome(name, labels, presence, at(now));
                }
                Happening::Wait(seconds) => {
                    now += seconds;
                    timetable.advance(at(now));
                }
                Happening::Restart => {
                    let benches = timetable.benches.iter().map(|(name, bench)| {
                        (name.clone(), Bench { lease: None, ..bench.clone() })
                    });
                    let leases = timetable.leases.values().cloned().collect();
                    timetable = Timetable::restored(benches.collect(), leases, at(now)).0;
                }
            }
            check(&timetable, at(now));
        }
    }
}
