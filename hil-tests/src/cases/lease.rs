//! How a lease begins: its statuses, and what a failed beforeLease hook does to it.

use anyhow::{Result, ensure};
use indoc::formatdoc;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![
    statuses_without_hooks,
    statuses_with_a_hook,
    before_warn,
    before_end_lease,
    before_exit[FailureHiddenBehindOffline, ExitCodeIsLost],
];

async fn statuses_without_hooks(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, "export: {}").await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY after AVAILABLE: Ready for commands").await
}

async fn statuses_with_a_hook(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        "hooks: {beforeLease: {script: 'until [ -e go ]; do sleep 0.05; done'}}",
    )
    .await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" BEFORE_LEASE_HOOK after AVAILABLE: Running beforeLease hook\n").await?;
    bench.write("go", "")?;
    statuses.prints(" LEASE_READY after BEFORE_LEASE_HOOK: Ready for commands\n").await?;
    let versions: Vec<u64> =
        statuses.lines().iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    ensure!(
        matches!(versions[..], [.., hook, ready] if ready == hook + 1),
        "a new status has the next version, and these are {versions:?}"
    );
    Ok(())
}

/// A beforeLease hook that waits for `go`, so that a client can be there, and then fails.
fn failing_before(on_failure: &str) -> String {
    formatdoc! {"
        hooks:
          beforeLease:
            script: |
              echo waiting
              until [ -e go ]; do sleep 0.05; done
              exit 3
            onFailure: {on_failure}
    "}
}

async fn before_warn(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &failing_before("warn")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    let mut shell = exporter.client().start_shell("echo in the shell")?;
    shell.prints("waiting").await?;
    bench.write("go", "")?;
    let text = "beforeLease hook warning: Hook failed with exit code 3";
    statuses
        .prints(&format!(" LEASE_READY after BEFORE_LEASE_HOOK: [HOOK_WARNING] {text}"))
        .await?;
    let output = shell.ends().await?.ok()?;
    ensure!(output.contains(&format!("Warning: {text}")), "the client should show the warning");
    ensure!(output.contains("in the shell"), "the shell should have run");
    Ok(())
}

async fn before_end_lease(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &failing_before("endLease")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    let mut shell = exporter.client().start_shell("echo in the shell")?;
    shell.prints("waiting").await?;
    bench.write("go", "")?;
    let text = "beforeLease hook failed (on_failure=endLease): Hook failed with exit code 3";
    statuses
        .prints(&format!(" BEFORE_LEASE_HOOK_FAILED after BEFORE_LEASE_HOOK: {text}\n"))
        .await?;
    let output = shell.ends().await?.with_code(1)?;
    ensure!(output.contains(text), "the client should say why");
    ensure!(!output.contains("in the shell"), "the shell should not have run");
    Ok(())
}

async fn before_exit(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &failing_before("exit")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    let mut shell = exporter.client().start_shell("echo in the shell")?;
    shell.prints("waiting").await?;
    bench.write("go", "")?;
    let text =
        "beforeLease hook failed (on_failure=exit, shutting down): Hook failed with exit code 3";
    exporter.ends().await?.with_code(if bench.differs(Known::ExitCodeIsLost) { 0 } else { 1 })?;
    if bench.differs(Known::FailureHiddenBehindOffline) {
        return shell.prints("GetStatus UNAVAILABLE 10 times consecutively, still retrying").await;
    }
    statuses
        .prints(&format!(" BEFORE_LEASE_HOOK_FAILED after BEFORE_LEASE_HOOK: {text}\n"))
        .await?;
    let output = shell.ends().await?.with_code(1)?;
    ensure!(output.contains(text), "the client should say why");
    ensure!(!output.contains("in the shell"), "the shell should not have run");
    Ok(())
}
