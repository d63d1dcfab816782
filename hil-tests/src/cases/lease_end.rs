//! How a lease ends: its afterLease hook, and what a failed one does.

use anyhow::Result;
use indoc::{formatdoc, indoc};
use nix::sys::signal::Signal;

use super::cases;
use super::power::POWER;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![
    after_lease[StandaloneEndSession],
    after_warn[StandaloneEndSession],
    after_end_lease [StandaloneEndSession],
    after_exit[StandaloneEndSession, FailureHiddenBehindOffline, ExitCodeIsLost],
    end_session[StandaloneEndSession],
];

/// An afterLease hook that uses a device, waits for `go` and ends with `code`.
pub(super) fn after(code: u8, on_failure: &str) -> String {
    formatdoc! {"
        {POWER}
        hooks:
          afterLease:
            script: |
              j power off || exit 9
              echo cleaning up after $LEASE_NAME
              until [ -e go ]; do sleep 0.05; done
              exit {code}
            onFailure: {on_failure}
    "}
}

/// Ends the lease, which leads to its afterLease hook.
async fn end_lease(bench: &Bench, exporter: &Exporter<'_>) -> Result<()> {
    if bench.differs(Known::StandaloneEndSession) {
        return exporter.signal(Signal::SIGTERM);
    }
    exporter
        .client()
        .python("from raw import Exporter; assert Exporter().end_session().success")
        .await?;
    Ok(())
}

async fn after_lease(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(0, "endLease")).await?;
    let (mut statuses, mut logs) =
        (exporter.client().start_statuses()?, exporter.client().start_logs()?);
    statuses.prints(" LEASE_READY after AVAILABLE: ").await?;
    end_lease(bench, &exporter).await?;
    statuses.prints(" AFTER_LEASE_HOOK after LEASE_READY: Running afterLease hooks\n").await?;
    logs.prints("DRIVER INFO power off").await?;
    logs.prints("AFTER_LEASE_HOOK INFO cleaning up after standalone").await?;
    bench.write("go", "")?;
    statuses.prints(" AVAILABLE after AFTER_LEASE_HOOK: Available for new lease\n").await
}

async fn after_warn(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(3, "warn")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY ").await?;
    bench.write("go", "")?;
    end_lease(bench, &exporter).await?;
    let text = "afterLease hook warning: Hook failed with exit code 3";
    statuses.prints(&format!(" AVAILABLE after AFTER_LEASE_HOOK: [HOOK_WARNING] {text}\n")).await
}

async fn after_end_lease(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(3, "endLease")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY ").await?;
    bench.write("go", "")?;
    end_lease(bench, &exporter).await?;
    let text = "afterLease hook failed (on_failure=endLease): Hook failed with exit code 3";
    statuses.prints(&format!(" AFTER_LEASE_HOOK_FAILED after AFTER_LEASE_HOOK: {text}\n")).await?;
    if bench.differs(Known::StandaloneEndSession) {
        exporter.ends().await?.ok()?;
        return Ok(());
    }
    // A failed clean-up ends the lease, not the service.
    exporter.client().shell("j power on").await?.ok()?;
    Ok(())
}

async fn after_exit(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(3, "exit")).await?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY ").await?;
    bench.write("go", "")?;
    end_lease(bench, &exporter).await?;
    exporter.ends().await?.with_code(if bench.differs(Known::ExitCodeIsLost) { 0 } else { 1 })?;
    if bench.differs(Known::FailureHiddenBehindOffline) {
        return statuses
            .prints(" OFFLINE after AFTER_LEASE_HOOK_FAILED: Exporter shutting down")
            .await;
    }
    let text =
        "afterLease hook failed (on_failure=exit, shutting down): Hook failed with exit code 3";
    statuses.prints(&format!(" AFTER_LEASE_HOOK_FAILED after AFTER_LEASE_HOOK: {text}\n")).await
}

/// The stock client never ends a session in direct mode, but others can.
async fn end_session(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, &after(0, "endLease")).await?;
    bench.write("go", "")?;
    let mut statuses = exporter.client().start_statuses()?;
    statuses.prints(" LEASE_READY ").await?;
    let script = indoc! {"
        from raw import Exporter
        exporter = Exporter()
        for attempt in range(2):
            response = exporter.end_session()
            assert response.success, response
            assert response.message.startswith('Session end triggered, afterLease hook'), response
    "};
    exporter.client().python(script).await?;
    if bench.differs(Known::StandaloneEndSession) {
        return statuses.prints(" AVAILABLE after LEASE_READY: Available for new lease\n").await;
    }
    statuses.prints(" AVAILABLE after AFTER_LEASE_HOOK: Available for new lease\n").await?;
    // Nobody is locked out: the next lease begins.
    exporter.client().shell("j power on").await?.ok()?;
    Ok(())
}
