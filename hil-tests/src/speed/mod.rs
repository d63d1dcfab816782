//! The benchmark: how fast Hilt is, beside the reference's exporter and the limit of the machine.
//!
//! A **measurement** (`measurements`) starts the subjects and measures them in turn, round by
//! round, with the same `client`, so that whatever else happens to the machine happens to all of
//! them. It yields the samples of one or several **rows** (`row`): for each subject, one number a
//! round. Their medians, quartiles and ratios, and whether what is to be reached is reached, make
//! the `report`.
//!
//! The third subject is the **bare** limit: a server that only answers (`bare`) or, where that is
//! no limit, the thing itself: a pseudo-terminal, fork and exec, `dd`.
//!
//! No time is ever asserted. A row that misses its target says so, and that is all.

mod arguments;
mod bare;
mod client;
mod controller;
mod each;
mod lab;
mod lines;
mod machine;
mod measurements;
mod report;
mod rounds;
mod row;
mod statistics;
mod transfer;
mod usage;

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::arguments::{Arguments, Part};
use self::machine::Machine;
use self::measurements::Measurement;
use self::report::Report;
use self::rounds::Rounds;
use crate::prepared::Prepared;

/// Where the report of a whole run goes.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../exporter/benches/RESULTS.md");

/// Measures what the arguments ask for, or plays one of the parts that measurements need.
///
/// # Errors
///
/// What keeps it from measuring at all. A measurement that fails is an exit code.
pub fn main() -> Result<ExitCode> {
    // cargo adds the argument to those of every benchmark.
    let arguments = Arguments::parse_from(env::args_os().filter(|argument| argument != "--bench"));
    match &arguments.part {
        Some(Part::Run(serve)) => runtime()?.block_on(serve.run()).map(|()| ExitCode::SUCCESS),
        Some(Part::PrintLines(lines)) => lines.print().map(|()| ExitCode::SUCCESS),
        Some(Part::SwitchPort(port)) => port.switch().map(|()| ExitCode::SUCCESS),
        None => measure(&arguments),
    }
}

/// As an exporter's.
fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("starting the runtime")
}

fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let chosen = arguments.chosen()?;
    let prepared = Prepared::of_this_tree()?;
    prepared.must_be_there()?;
    let machine = Machine::of_this_run(&prepared)?;
    let rounds = Arc::new(Rounds::new(prepared, arguments.quick));
    let report = runtime()?.block_on(async {
        // In a task: nothing that is measured has to pass between a worker and this thread.
        let mut task = JoinSet::new();
        task.spawn(run(rounds, chosen, machine));
        task.join_next().await.context("the task was just spawned")??
    })?;
    print(&report.to_string())?;
    if arguments.is_whole() && report.is_complete() {
        fs::create_dir_all(Path::new(RESULTS).parent().unwrap_or(Path::new(".")))?;
        fs::write(RESULTS, report.to_string()).with_context(|| format!("writing {RESULTS}"))?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One measurement after the other; one that fails doesn't keep the others from being made.
async fn run(
    rounds: Arc<Rounds>,
    chosen: Vec<&'static Measurement>,
    machine: Machine,
) -> Result<Report> {
    let mut report = Report::new(machine)?;
    for measurement in chosen {
        report.add_disturbance(usage::disturbance().await?);
        let begun = tokio::time::Instant::now();
        let samples = (measurement.run)(&rounds).await;
        let seconds = begun.elapsed().as_secs_f64();
        let outcome = if samples.is_ok() { "measured" } else { "FAILED" };
        writeln!(io::stderr(), "{}: {outcome} in {seconds:.0} s", measurement.name)?;
        report.add(measurement, samples);
    }
    report.end()?;
    Ok(report)
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("printing the report")
}
