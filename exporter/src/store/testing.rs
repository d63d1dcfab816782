//! What the tests of this room share.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Capture, HookEvent, RunBegun, RunEnded, RunStatus, Subject};
use crate::config::hooks::LifecycleEvent;

/// A run of a stop hook that begins now, succeeds, and prints this.
pub(super) fn run(printed: &str) -> (RunBegun, RunEnded) {
    let begun = RunBegun {
        id: Uuid::new_v4(),
        event: HookEvent::Exporter(LifecycleEvent::Stop),
        subject: Subject::Exporter { name: "bench".into() },
        lease: None,
        started: Timestamp::now(),
    };
    let mut output = Capture::default();
    output.push(printed);
    let ended = RunEnded {
        id: begun.id,
        status: RunStatus::Success,
        exit_code: Some(0),
        signal: None,
        detail: None,
        duration: Duration::from_secs(1),
        output: output.finish(),
    };
    (begun, ended)
}
