//! Leases of an exporter that has a long history, beside those of one that has none.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use exporter::lease::Lease;
use exporter::lease::machine::journal::Progress;
use exporter::lease::machine::{Phase, Prepared};
use exporter::state::StateDir;
use exporter::store::{
    HookEvent, Output, RunBegun, RunEnded, RunStatus, Store, Subject as Whose, Write,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::leases::{BOTH_HOOKS, several};
use super::{Measurement, Run};
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::subject::{Exporter, Subject};

pub(super) const HISTORY: Measurement = Measurement {
    name: "history",
    how: "as `lease`, with a store of 100,000 transitions and 10,000 runs of hooks; bare is the same \
          with an empty store, in the same round.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(history(rounds)) },
};

static TO_AVAILABLE: Row = Row {
    title: "lease end to AVAILABLE with a long history, beside an empty one",
    unit: Unit::MS,
    targets: &[Target::OfBare(1.1)],
};
static TO_READY: Row = Row {
    title: "lease assigned to LEASE_READY with a long history, beside an empty one",
    unit: Unit::MS,
    targets: &[Target::OfBare(1.1)],
};

const TRANSITIONS: usize = 100_000;
const RUNS: usize = 10_000;
/// How many of them become one commit: it is the amount that matters, not how it came there.
const BATCH: usize = 1000;

async fn history(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut to_available = Samples::of(&TO_AVAILABLE);
    let mut to_ready = Samples::of(&TO_READY);
    let keeper = rounds.bench(Subject::Hilt)?;
    let long = keeper.path("long-history");
    remember(&long).await?;
    for subject in rounds.turns() {
        let bench = rounds.bench(Subject::Hilt)?;
        let exporter = Exporter::with(&bench, BOTH_HOOKS);
        let exporter = match subject {
            Subject::Python => continue,
            Subject::Bare => exporter,
            Subject::Hilt => exporter.state(long.clone()),
        };
        let (available, ready) = several(exporter).await?;
        to_available.add(subject, available);
        to_ready.add(subject, ready);
    }
    Ok(vec![to_available, to_ready])
}

/// Fills a state directory.
async fn remember(directory: &Path) -> Result<()> {
    let dir = StateDir::of(Some(directory)).of_exporter("bench");
    let (store, _) = Store::open(&dir)?;
    for batch in 0..TRANSITIONS / BATCH {
        let mut writes: Vec<_> = (0..BATCH).map(|nth| transition(batch * BATCH + nth)).collect();
        for _ in 0..BATCH * RUNS / TRANSITIONS {
            writes.extend(run(batch));
        }
        store.commit(writes).await;
    }
    Ok(())
}

/// One of the two of each lease.
fn transition(number: usize) -> Write {
    let lease = Lease {
        id: Uuid::from_u128(u128::try_from(number / 2).unwrap_or_default()),
        name: "standalone".into(),
        client: String::new(),
        context: [].into(),
    };
    let progress = if number.is_multiple_of(2) {
        Progress::Prepared(Prepared::Passed)
    } else {
        Progress::Over
    };
    Write::Lease(lease, progress)
}

/// A hook that has printed a little.
fn run(batch: usize) -> [Write; 2] {
    let id = Uuid::new_v4();
    let begun = RunBegun {
        id,
        event: HookEvent::Lease(Phase::Before),
        subject: Whose::Lease { name: "standalone".into() },
        lease: None,
        started: Timestamp::now(),
    };
    let ended = RunEnded {
        id,
        status: RunStatus::Success,
        exit_code: Some(0),
        signal: None,
        detail: None,
        duration: Duration::from_millis(2),
        output: Output { head: format!("batch {batch}\n"), ..Output::default() },
    };
    [Write::RunBegun(begun), Write::RunEnded(ended)]
}
