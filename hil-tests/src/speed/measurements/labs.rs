//! A lab of one host, as its clients see it: how soon they have a bench, and how fast they reach it.

use anyhow::Result;
use exporter::wire::ExporterStatus;
use tokio::time::Instant;

use super::leases::BOTH_HOOKS;
use super::streams::{ECHO, both_ways};
use super::{Measurement, Run};
use crate::speed::client::Client;
use crate::speed::lab::{Lab, LabClient};
use crate::speed::rounds::{Exporters, Rounds};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::median;
use crate::subject::Subject;

pub(super) const FIRST_CALL: Measurement = Measurement {
    name: "lab-call",
    how: "a client of `hilt run --lab`, which is connected already, asks for a lease, dials, connects \
          through the router, waits for LEASE_READY and calls `on` of a mocked power switch. The bench has \
          no hooks.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(first_call(rounds)) },
};

pub(super) const TURNAROUND: Measurement = Measurement {
    name: "lab-turnaround",
    how: "two clients of `hilt run --lab` have one bench in turn, with hooks of `true`, and leave it as \
          `jmp` does: EndSession, and once AVAILABLE is seen they hang up and delete their lease. From \
          EndSession until the other client has dialled and sees LEASE_READY.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(turnaround(rounds)) },
};

pub(super) const ROUTER: Measurement = Measurement {
    name: "router",
    how: "as `duplex`, through the router of `hilt run --lab`, with TLS and a second layer of frames. \
          The bare server is reached directly and without TLS.",
    profile: Some(
        "every byte is encrypted and decrypted, and in frames of frames; the bare server does \
         neither. Runs of one program have had from 0.49 to 0.56 of it.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(router(rounds)) },
};

static TO_FIRST_CALL: Row = Row {
    title: "lab: CreateLease to the first driver call",
    unit: Unit::MS,
    targets: &[Target::Figure(50.0)],
};
static TO_NEXT: Row = Row {
    title: "lab: lease end to the next LEASE_READY, no-op hooks",
    unit: Unit::MS,
    targets: &[Target::Figure(100.0)],
};
static THROUGHPUT: Row = Row {
    title: "lab: stream duplex through the router, 64 KiB frames",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.5)],
};

/// How many leases make a sample.
const LEASES: usize = 15;

const SELECTOR: &str = "jumpstarter.dev/name=bench-0";

async fn first_call(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut samples = Samples::of(&TO_FIRST_CALL);
    for subject in rounds.turns().filter(|subject| *subject == Subject::Hilt) {
        let bench = rounds.bench(subject)?;
        let power = "export: {power: {type: jumpstarter_driver_power.driver.MockPower}}";
        let lab = Lab::start(&bench, 1, power).await?;
        let ann = lab.client("ann").await?;
        let mut taken = Vec::new();
        for number in 0..LEASES {
            let name = format!("lease-{number}");
            let begun = Instant::now();
            ann.create(&name, SELECTOR).await?;
            let client = ready(&ann, &name).await?;
            client.call(&client.uuid("power").await?, "on", Vec::new()).await?;
            taken.push(begun.elapsed().as_secs_f64() * 1e3);
            ann.delete(&name).await?;
            // The next lease is to find the bench free.
            drop(client);
            lab.is_free("bench-0", &ann).await?;
        }
        samples.add(subject, median(taken));
    }
    Ok(vec![samples])
}

async fn turnaround(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut samples = Samples::of(&TO_NEXT);
    for subject in rounds.turns().filter(|subject| *subject == Subject::Hilt) {
        let bench = rounds.bench(subject)?;
        let lab = Lab::start(&bench, 1, BOTH_HOOKS).await?;
        let clients = [lab.client("ann").await?, lab.client("bob").await?];
        let mut taken = Vec::new();
        clients[0].create("lease-0", SELECTOR).await?;
        let mut session = ready(&clients[0], "lease-0").await?;
        for number in 1..=LEASES {
            let (leaves, comes) = (&clients[(number - 1) % 2], &clients[number % 2]);
            let (old, new) = (format!("lease-{}", number - 1), format!("lease-{number}"));
            comes.create(&new, SELECTOR).await?;
            let ended = Instant::now();
            session.end_session().await?;
            session.has(ExporterStatus::Available).await?;
            drop(session);
            leaves.delete(&old).await?;
            session = ready(comes, &new).await?;
            taken.push(ended.elapsed().as_secs_f64() * 1e3);
        }
        samples.add(subject, median(taken));
    }
    Ok(vec![samples])
}

async fn router(rounds: &Rounds) -> Result<Vec<Samples>> {
    const FRAME: usize = 64 * 1024;
    let mut rate = Samples::of(&THROUGHPUT);
    let bench = rounds.bench(Subject::Hilt)?;
    let lab = Lab::start(&bench, 1, ECHO).await?;
    let ann = lab.client("ann").await?;
    ann.create("lease", SELECTOR).await?;
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| ECHO.to_owned()).await?;
    for subject in rounds.turns() {
        let client = match subject {
            Subject::Python => continue,
            Subject::Bare => exporters.client(subject).await?,
            Subject::Hilt => ready(&ann, "lease").await?,
        };
        let stream = client.stream(&client.uuid("echo").await?).await?;
        rate.add(subject, both_ways(stream, FRAME).await?);
    }
    Ok(vec![rate])
}

/// Connects to the exporter of a lease once there is one, and waits until drivers may be called.
async fn ready(client: &LabClient, lease: &str) -> Result<Client> {
    client.has(lease).await?;
    let session = client.connect(lease).await?;
    session.is_ready().await?;
    Ok(session)
}
