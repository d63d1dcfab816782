//! What a bench has on record of its hooks.

use exporter::store::{Filter, History, HookEvent};

use crate::bench::Bench;

/// What the runs of an event have printed, the first to have started first.
pub(crate) fn outputs(bench: &Bench, event: &str) -> Vec<String> {
    let history = History::open(&bench.file("state/exporters/bench")).unwrap();
    let filter = Filter { event: HookEvent::of_word(event), ..Filter::default() };
    assert!(filter.event.is_some(), "{event} is no event");
    let runs = history.runs(&filter).unwrap();
    let output = |id| history.output(id).unwrap().into_text();
    runs.iter().rev().map(|run| output(run.begun.id)).collect()
}

/// The events of all runs, the first to have started first.
pub(crate) fn events(bench: &Bench) -> Vec<&'static str> {
    bench.runs().iter().map(|run| run.begun.event.word()).collect()
}
