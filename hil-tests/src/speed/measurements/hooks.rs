//! Hooks: how soon a client hears them, and what they add to the start and the end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indoc::formatdoc;
use nix::sys::signal::Signal;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use super::{Measurement, Run};
use crate::bench::Bench;
use crate::speed::client::Client;
use crate::speed::lines::{Line, now};
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::{median, quantile};
use crate::subject::{Exporter, Subject};

pub(super) const LINES: Measurement = Measurement {
    name: "hook-lines",
    how: "a beforeLease hook waits for a client to listen and prints 200 lines, one every 5 ms, each \
          with the time at which it was printed; the client takes the time at which the log stream \
          brings it. Of the bare server, the hook's output is a pipe and not a terminal.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(lines(rounds)) },
};

pub(super) const BURST: Measurement = Measurement {
    name: "hook-burst",
    how: "the same with 10,000 lines at once; the rate is from the time of the first to the \
          arrival of the last that arrives.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(burst(rounds)) },
};

pub(super) const BEFORE: Measurement = Measurement {
    name: "before-hook",
    how: "the time from the start to LEASE_READY with a beforeLease hook of `true`, less that \
          without; bare is to fork and exec `sh -c true`.",
    profile: Some(
        "beside what the bare figure is: that the hook runs, and how it has ended, are waited for to \
         be on the disk before anybody sees either, which is two times a commit of SQLite; the rest is \
         a pseudo-terminal and a process that is forked from a larger one.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(before(rounds)) },
};

pub(super) const STOP: Measurement = Measurement {
    name: "stop",
    how: "SIGTERM to a leased exporter without clients, to the end of its process; bare runs the \
          hook by itself and exits.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(stop(rounds)) },
};

static LINE_P50: Row =
    Row { title: "hook line to LogStream, p50", unit: Unit::MS, targets: &[Target::Figure(0.5)] };
static LINE_P99: Row =
    Row { title: "hook line to LogStream, p99", unit: Unit::MS, targets: &[Target::Figure(5.0)] };
static BURST_COUNT: Row = Row {
    title: "burst of 10,000 hook lines: that arrive",
    unit: Unit::MANY,
    targets: &[Target::Figure(10_000.0)],
};
static BURST_RATE: Row = Row {
    title: "burst of 10,000 hook lines: how fast",
    unit: Unit::PER_SECOND,
    targets: &[Target::Figure(100_000.0)],
};
static BEFORE_LEASE: Row = Row {
    title: "beforeLease of `true`: added to start",
    unit: Unit::MS,
    targets: &[Target::Figure(5.0)],
};
static SIGTERM: Row = Row {
    title: "SIGTERM to exit with afterLease `true`",
    unit: Unit::MS,
    targets: &[Target::Figure(30.0)],
};

async fn lines(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut p50 = Samples::of(&LINE_P50);
    let mut p99 = Samples::of(&LINE_P99);
    for subject in rounds.turns() {
        let heard = heard(&rounds.bench(subject)?, 200, 5).await?;
        let latencies: Vec<_> = heard.iter().map(|heard| heard.latency() * 1e3).collect();
        p50.add(subject, quantile(latencies.clone(), 0.5));
        p99.add(subject, quantile(latencies, 0.99));
    }
    Ok(vec![p50, p99])
}

async fn burst(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut count = Samples::of(&BURST_COUNT);
    let mut rate = Samples::of(&BURST_RATE);
    for subject in rounds.turns() {
        let heard = heard(&rounds.bench(subject)?, 10_000, 0).await?;
        let arrived = f64::from(u32::try_from(heard.len())?);
        count.add(subject, arrived);
        if let [first, .., last] = heard.as_slice() {
            rate.add(subject, arrived / (last.arrived - first.line.printed.as_secs_f64()));
        }
    }
    Ok(vec![count, rate])
}

/// A line that has arrived, and when, in seconds.
#[derive(Clone, Copy, Debug)]
struct Heard {
    line: Line,
    arrived: f64,
}

impl Heard {
    fn latency(&self) -> f64 {
        self.arrived - self.line.printed.as_secs_f64()
    }
}

/// The lines of a hook that arrive at a client.
async fn heard(bench: &Bench, count: usize, pause: usize) -> Result<Vec<Heard>> {
    /// When nothing has arrived for so long, the rest is lost.
    const SILENCE: Duration = Duration::from_secs(2);
    let program = std::env::current_exe().context("finding this program")?;
    let config = formatdoc! {"
        hooks:
          beforeLease:
            script: |
              until [ -e go ]; do sleep 0.01; done
              exec '{}' print-lines {count} {pause}
    ", program.display()};
    let exporter = Exporter::with(bench, &config).unheard().launch()?;
    let mut logs = Client::patient(exporter.address()).await?.logs().await?;
    bench.write("go", "")?;
    let mut heard = Vec::with_capacity(count);
    while let Ok(record) = timeout(SILENCE, logs.message()).await {
        let arrived = now()?.as_secs_f64();
        let record = record?.context("the log ended")?;
        let Some(line) = Line::parse(&record.message) else { continue };
        heard.push(Heard { line, arrived });
        if line.number == count {
            break;
        }
    }
    Ok(heard)
}

const NO_HOOK: &str = "export: {}";
const BEFORE_HOOK: &str = "hooks: {beforeLease: {script: 'true'}}";
const AFTER_HOOK: &str = "hooks: {afterLease: {script: 'true'}}";

async fn before(rounds: &Rounds) -> Result<Vec<Samples>> {
    /// A start differs from the next by more than a hook adds to it.
    const PAIRS: usize = 5;
    let mut added = Samples::of(&BEFORE_LEASE);
    for subject in rounds.turns() {
        let milliseconds = match subject {
            Subject::Bare => fork_and_exec()?,
            Subject::Hilt | Subject::Python => {
                let (mut with, mut without) = (Vec::new(), Vec::new());
                for _ in 0..PAIRS {
                    without.push(start_to_ready(&rounds.bench(subject)?, NO_HOOK).await?);
                    with.push(start_to_ready(&rounds.bench(subject)?, BEFORE_HOOK).await?);
                }
                median(with) - median(without)
            }
        };
        added.add(subject, milliseconds);
    }
    Ok(vec![added])
}

/// In milliseconds.
async fn start_to_ready(bench: &Bench, config: &str) -> Result<f64> {
    let start = Exporter::with(bench, config).unheard();
    let started = Instant::now();
    let exporter = start.launch()?;
    Client::patient(exporter.address()).await?.is_ready().await?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// What it takes to run `true` in a shell, in milliseconds.
pub(super) fn fork_and_exec() -> Result<f64> {
    const TIMES: usize = 15;
    block_in_place(|| {
        let mut taken = Vec::new();
        for _ in 0..TIMES {
            let started = Instant::now();
            let status = std::process::Command::new("sh").args(["-c", "true"]).status()?;
            taken.push(started.elapsed().as_secs_f64() * 1e3);
            ensure!(status.success(), "`sh -c true` ended with {status}");
        }
        Ok(median(taken))
    })
}

async fn stop(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut stopped = Samples::of(&SIGTERM);
    for subject in rounds.turns() {
        let bench = rounds.bench(subject)?;
        let exporter = Exporter::with(&bench, AFTER_HOOK).unheard().launch()?;
        Client::patient(exporter.address()).await?.is_ready().await?;
        let sent = Instant::now();
        exporter.signal(Signal::SIGTERM)?;
        exporter.ends().await?;
        stopped.add(subject, sent.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![stopped])
}
