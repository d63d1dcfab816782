//! Leases, one after the other, of a standing exporter.

use anyhow::{Result, bail};
use exporter::wire::ExporterStatus;
use indoc::formatdoc;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::hooks::fork_and_exec;
use super::{Measurement, Run};
use crate::speed::client::Client;
use crate::speed::controller::Controller;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::median;
use crate::speed::usage::Usage;
use crate::subject::{Exporter, Start, Subject, config, run};

pub(super) const LEASE: Measurement = Measurement {
    name: "lease",
    how: "ends the session of a lease with hooks of `true`, and follows the status every 0.2 ms: to \
          AVAILABLE, and from there to LEASE_READY. The reference is not measured: without a \
          controller its EndSession runs no hook, and no second lease begins. Bare is to fork and \
          exec `sh -c true`.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(lease(rounds)) },
};

pub(super) const LEASES: Measurement = Measurement {
    name: "leases",
    how: "10,000 leases with a beforeLease hook of `true`, once; the growth is from the end of the \
          first thousand to the end of the last.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(leases(rounds)) },
};

pub(super) const CONTROLLED: Measurement = Measurement {
    name: "controlled",
    how: "a controller, played by this program, takes a lease from an exporter with hooks of `true`, \
          and gives it the next when AVAILABLE is reported: until LEASE_READY is. No client comes.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(controlled(rounds)) },
};

static TO_AVAILABLE: Row = Row {
    title: "lease end to AVAILABLE with a no-op afterLease",
    unit: Unit::MS,
    targets: &[Target::Figure(20.0)],
};
static TO_READY: Row = Row {
    title: "lease assigned to LEASE_READY with a hook of `true`",
    unit: Unit::MS,
    targets: &[Target::OverBare(5.0)],
};
static TO_NEXT: Row = Row {
    title: "with a controller: lease end to the next LEASE_READY, no-op hooks",
    unit: Unit::MS,
    targets: &[Target::Figure(100.0), Target::TimesPython(20.0)],
};
static TIME: Row =
    Row { title: "10,000 leases: time a lease, first thousand", unit: Unit::MS, targets: &[] };
static SLOWER: Row = Row {
    title: "10,000 leases: the last thousand took as long as the first, times",
    unit: Unit::FEW,
    targets: &[Target::Figure(1.1)],
};
static MEMORY: Row = Row {
    title: "10,000 leases: growth of resident memory",
    unit: Unit::MB,
    targets: &[Target::Figure(1.0)],
};
static DESCRIPTORS: Row = Row {
    title: "10,000 leases: growth of file descriptors",
    unit: Unit::FEW,
    targets: &[Target::Figure(0.0)],
};
static THREADS: Row = Row {
    title: "10,000 leases: growth of threads",
    unit: Unit::FEW,
    targets: &[Target::Figure(0.0)],
};

pub(super) const BOTH_HOOKS: &str =
    "hooks: {beforeLease: {script: 'true'}, afterLease: {script: 'true'}}";
const BEFORE_HOOK: &str = "hooks: {beforeLease: {script: 'true'}}";

async fn lease(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut to_available = Samples::of(&TO_AVAILABLE);
    let mut to_ready = Samples::of(&TO_READY);
    for subject in rounds.turns() {
        match subject {
            Subject::Python => {}
            Subject::Bare => to_ready.add(subject, fork_and_exec()?),
            Subject::Hilt => {
                let bench = rounds.bench(subject)?;
                let (available, ready) = several(Exporter::with(&bench, BOTH_HOOKS)).await?;
                to_available.add(subject, available);
                to_ready.add(subject, ready);
            }
        }
    }
    Ok(vec![to_available, to_ready])
}

async fn controlled(rounds: &Rounds) -> Result<Vec<Samples>> {
    const LEASES: usize = 5;
    let mut samples = Samples::of(&TO_NEXT);
    for subject in rounds.turns().filter(|subject| *subject != Subject::Bare) {
        let bench = rounds.bench(subject)?;
        let mut controller = Controller::start()?;
        let endpoint = controller.address();
        let body = formatdoc! {"
            endpoint: {endpoint}
            token: secret
            tls: {{insecure: true, ca: ''}}
            {BOTH_HOOKS}
        "};
        let file = bench.write("controlled.yaml", config(&body))?;
        let _exporter = run(&bench, &["--exporter-config", &file.display().to_string()])?;
        controller.hears(ExporterStatus::Available).await?;
        controller.lease(Some("lease-0".into()));
        controller.hears(ExporterStatus::LeaseReady).await?;
        let mut taken = Vec::new();
        for number in 1..=LEASES {
            let ended = Instant::now();
            controller.lease(None);
            controller.hears(ExporterStatus::Available).await?;
            controller.lease(Some(format!("lease-{number}")));
            controller.hears(ExporterStatus::LeaseReady).await?;
            taken.push(ended.elapsed().as_secs_f64() * 1e3);
        }
        samples.add(subject, median(taken));
    }
    Ok(vec![samples])
}

/// One lease after the other: what takes it to AVAILABLE, and from there to LEASE_READY, in
/// milliseconds.
pub(super) async fn several(exporter: Start<'_>) -> Result<(f64, f64)> {
    const LEASES: usize = 15;
    let exporter = exporter.unheard().launch()?;
    let client = Client::patient(exporter.address()).await?;
    client.is_ready().await?;
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..LEASES {
        let ended = Instant::now();
        client.end_session().await?;
        client.has(ExporterStatus::Available).await?;
        let available = Instant::now();
        client.is_ready().await?;
        ends.push((available - ended).as_secs_f64() * 1e3);
        starts.push(available.elapsed().as_secs_f64() * 1e3);
    }
    // The next one may go on in its state directory.
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?;
    Ok((median(ends), median(starts)))
}

async fn leases(rounds: &Rounds) -> Result<Vec<Samples>> {
    const THOUSAND: u32 = 1000;
    let bench = rounds.bench(Subject::Hilt)?;
    let exporter = Exporter::with(&bench, BEFORE_HOOK).unheard().launch()?;
    let client = Client::patient(exporter.address()).await?;
    client.is_ready().await?;
    let mut thousands = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        for _ in 0..THOUSAND {
            client.end_session().await?;
            client.has(ExporterStatus::Available).await?;
            client.is_ready().await?;
        }
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3 / f64::from(THOUSAND);
        thousands.push((milliseconds, Usage::of(&bench.processes())?));
    }
    let [(first, before), .., (last, after)] = thousands.as_slice() else {
        bail!("there are ten thousands");
    };
    let figures = [
        (&TIME, *first),
        (&SLOWER, last / first),
        (&MEMORY, (after.resident - before.resident) / 1e6),
        (&DESCRIPTORS, after.descriptors - before.descriptors),
        (&THREADS, after.threads - before.threads),
    ];
    Ok(figures.map(|(row, figure)| Samples::single(row, Subject::Hilt, figure)).into())
}
