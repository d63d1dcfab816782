//! Many who wait for the benches of a lab.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use exporter::lab::directory::Directory;
use exporter::lab::lease::{Hold, How, Lease, Stage};
use exporter::lab::store::Database;
use exporter::lab::terms::Wanted;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Measurement, Run};
use crate::speed::lab::{Lab, state};
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::subject::Subject;

pub(super) const QUEUE: Measurement = Measurement {
    name: "queue",
    how: "100 benches of one `hilt run --lab` are leased and 1,000 leases wait for any of them; who has \
          one ends it, in the order of the queue, until everybody had one. An assignment is the end of \
          one lease, its bench made ready again, and the beginning of the next. With 10,000 leases that \
          are over; bare is the same without any, in the same round.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(measure(rounds)) },
};

static ASSIGNMENT: Row = Row {
    title: "lab: 1,000 queued leases, 100 benches: time an assignment with 10,000 past leases, beside none",
    unit: Unit::MS,
    targets: &[Target::OfBare(1.1)],
};

const BENCHES: usize = 100;
const QUEUED: usize = 1000;
const PAST: usize = 10_000;

/// How many leases one client may have.
const EACH: usize = 1000;

async fn measure(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut samples = Samples::of(&ASSIGNMENT);
    for subject in rounds.turns() {
        let past = match subject {
            Subject::Python => continue,
            Subject::Bare => 0,
            Subject::Hilt => PAST,
        };
        samples.add(subject, assignment(rounds, past).await?);
    }
    Ok(vec![samples])
}

/// What an assignment takes, in milliseconds, after so many leases.
async fn assignment(rounds: &Rounds, past: usize) -> Result<f64> {
    let bench = rounds.bench(Subject::Hilt)?;
    let directory = Directory::open(&state(&bench))?;
    Database::open(&directory)?.save((0..past).map(ended).collect::<Result<_>>()?)?;
    let lab = Lab::start(&bench, BENCHES, "").await?;
    let mut clients = Vec::new();
    for number in 0..=(BENCHES + QUEUED) / EACH {
        clients.push(lab.client(&format!("client-{number}")).await?);
    }
    let owner = |lease: usize| &clients[lease / EACH];
    for bench in 0..BENCHES {
        lab.is_free(&format!("bench-{bench}"), owner(0)).await?;
    }
    for lease in 0..BENCHES + QUEUED {
        owner(lease).create(&name(lease), "jumpstarter.dev/name").await?;
    }
    let begun = Instant::now();
    for lease in 0..QUEUED {
        owner(lease).has(&name(lease)).await?;
        owner(lease).delete(&name(lease)).await?;
    }
    for lease in QUEUED..QUEUED + BENCHES {
        owner(lease).has(&name(lease)).await?;
    }
    let count = f64::from(u32::try_from(QUEUED)?);
    Ok(begun.elapsed().as_secs_f64() * 1e3 / count)
}

fn name(lease: usize) -> String {
    format!("lease-{lease}")
}

/// A lease that was over yesterday.
fn ended(number: usize) -> Result<Lease> {
    let day = SignedDuration::from_hours(24);
    let yesterday = Timestamp::now().checked_sub(day).context("there was a yesterday")?;
    let hold = Hold { exporter: format!("bench-{}", number % BENCHES), since: yesterday };
    Ok(Lease {
        name: format!("past-{number}"),
        client: "somebody".into(),
        selector: "jumpstarter.dev/name".parse()?,
        exporter_name: None,
        allow_disabled: false,
        terms: Wanted { duration: Some(day), ..Wanted::default() }.complete()?,
        tags: BTreeMap::new(),
        context: BTreeMap::new(),
        created: yesterday,
        stage: Stage::Ended { hold: Some(hold), at: yesterday, how: How::Released },
        deleted: true,
    })
}
