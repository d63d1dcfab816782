//! The log stream.

use anyhow::{Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::process::Process;
use crate::subject::Exporter;

cases![
    a_late_client_sees_everything[LogQueueIsShort],
    every_reader_sees_everything[LogReadersSteal],
    failures_are_logged,
];

/// The numbers among the lines of the beforeLease hook.
fn numbers(logs: &Process) -> Vec<u32> {
    logs.lines()
        .iter()
        .filter_map(|line| line.strip_prefix("BEFORE_LEASE_HOOK INFO ")?.parse().ok())
        .collect()
}

async fn a_late_client_sees_everything(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, "hooks: {beforeLease: {script: seq 1 1000}}").await?;
    exporter.client().start_statuses()?.prints(" LEASE_READY ").await?;
    let mut logs = exporter.client().start_logs()?;
    logs.prints("BEFORE_LEASE_HOOK INFO 1000\n").await?;
    let numbers = numbers(&logs);
    if bench.differs(Known::LogQueueIsShort) {
        ensure!(
            numbers.first() > Some(&744),
            "the reference keeps 256 records at most, and these are {numbers:?}"
        );
    } else {
        ensure!(
            numbers == (1..=1000).collect::<Vec<_>>(),
            "1 to 1000 should arrive, and these did: {numbers:?}"
        );
    }
    Ok(())
}

async fn every_reader_sees_everything(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        indoc! {"
            hooks:
              beforeLease:
                script: |
                  echo ready
                  until [ -e go ]; do sleep 0.05; done
                  seq 1 100
                  echo end
        "},
    )
    .await?;
    let mut first = exporter.client().start_logs()?;
    first.prints("BEFORE_LEASE_HOOK INFO ready").await?;
    let mut second = exporter.client().start_logs()?;
    second.prints("attached").await?;
    bench.write("go", "")?;
    if bench.differs(Known::LogReadersSteal) {
        exporter.client().start_statuses()?.prints(" LEASE_READY ").await?;
        let (first, second) = (numbers(&first), numbers(&second));
        ensure!(
            first.iter().all(|number| !second.contains(number)),
            "the reference gives each record to one reader"
        );
        return Ok(());
    }
    for reader in [&mut first, &mut second] {
        reader.prints("BEFORE_LEASE_HOOK INFO end\n").await?;
        let numbers = numbers(reader);
        ensure!(
            numbers == (1..=100).collect::<Vec<_>>(),
            "1 to 100 should arrive, and these did: {numbers:?}"
        );
    }
    Ok(())
}

async fn failures_are_logged(bench: &Bench) -> Result<()> {
    for (hook, record) in [
        ("{script: exit 3}", "WARNING Hook failed with exit code 3 (on_failure=warn, continuing)"),
        (
            "{script: kill -9 $$, onFailure: endLease}",
            "ERROR Hook failed with exit code -9 (on_failure=endLease, raising exception)",
        ),
    ] {
        let exporter = Exporter::start(bench, &format!("hooks: {{beforeLease: {hook}}}")).await?;
        let mut logs = exporter.client().start_logs()?;
        logs.prints(&format!("BEFORE_LEASE_HOOK {record}\n")).await?;
    }
    Ok(())
}
