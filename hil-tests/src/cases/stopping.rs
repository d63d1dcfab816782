//! Signals to the exporter.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};

use super::cases;
use super::hooks::{WAITING, waiting_child};
use super::lease_end::after;
use crate::bench::Bench;
use crate::known::Known;
use crate::process::is_alive;
use crate::subject::Exporter;

cases![
    interrupted,
    terminated_while_ready,
    terminated_during_before_lease[HooksLeaveOrphans],
    terminated_twice[SecondSignalIgnored],
];

async fn interrupted(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, "export: {}").await?;
    exporter.client().start_statuses()?.prints(" LEASE_READY ").await?;
    exporter.signal(Signal::SIGINT)?;
    exporter.ends().await?.ok()?;
    Ok(())
}

async fn terminated_while_ready(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(0, "warn")).await?;
    let (mut statuses, mut logs) =
        (exporter.client().start_statuses()?, exporter.client().start_logs()?);
    statuses.prints(" LEASE_READY ").await?;
    exporter.signal(Signal::SIGTERM)?;
    logs.prints("AFTER_LEASE_HOOK INFO cleaning up after standalone").await?;
    bench.write("go", "")?;
    exporter.ends().await?.ok()?;
    statuses.prints("gone: ").await
}

async fn terminated_during_before_lease(bench: &Bench) -> Result<()> {
    let exporter =
        Exporter::start(bench, &format!("hooks: {{beforeLease: {{script: {WAITING}}}}}")).await?;
    let child = waiting_child(bench).await?;
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    let alive = is_alive(child);
    ensure!(
        alive == bench.differs(Known::HooksLeaveOrphans),
        "whether a child of the hook is alive: {alive}"
    );
    Ok(())
}

async fn terminated_twice(bench: &Bench) -> Result<()> {
    let exporter =
        Exporter::start(bench, &format!("hooks: {{afterLease: {{script: {WAITING}}}}}")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY ").await?;
    exporter.signal(Signal::SIGTERM)?;
    let child = waiting_child(bench).await?;
    exporter.signal(Signal::SIGTERM)?;
    if bench.differs(Known::SecondSignalIgnored) {
        // The hook comes to its end by itself, as soon as there is nothing left to wait for.
        kill(child, Signal::SIGTERM).context("ending the hook's child")?;
        return statuses.prints(" AVAILABLE after AFTER_LEASE_HOOK: Available for new lease").await;
    }
    exporter.ends().await?;
    ensure!(!is_alive(child), "the hook should be gone with the exporter");
    Ok(())
}
