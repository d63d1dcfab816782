//! From the start of the process to its first answer, and what it then occupies.

use anyhow::Result;
use tokio::time::Instant;

use super::{Measurement, Run};
use crate::speed::client::Client;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::usage::Usage;
use crate::subject::Exporter;

pub(super) const START: Measurement = Measurement {
    name: "start",
    how: "starts an exporter with four drivers, connects as soon as it listens, asks for its report, \
          and looks at its memory once it is ready for calls.",
    profile: Some(
        "about 1.5 MB are the exporter's own; the rest are pages of its program, which the kernel maps \
         64 KiB at a time around whatever a start touches. The store is opened before the first \
         client is let in: that is one wait for the disk, and two more for a new one.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(measure(rounds)) },
};

static FIRST_REPORT: Row = Row {
    title: "start to first GetReport",
    unit: Unit::MS,
    targets: &[Target::Figure(10.0), Target::TimesPython(100.0)],
};
static RESIDENT: Row =
    Row { title: "resident memory, idle", unit: Unit::MB, targets: &[Target::Figure(12.0)] };
static PROPORTIONAL: Row = Row {
    title: "resident memory, idle, shared pages divided (PSS)",
    unit: Unit::MB,
    targets: &[Target::TimesPython(10.0)],
};

const DEVICES: &str = "
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
  serial: {type: jumpstarter_driver_pyserial.driver.PySerial, config: {url: 'loop://'}}
  mux: {type: jumpstarter_driver_opendal.driver.MockStorageMux}
  echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
";

async fn measure(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut first_report = Samples::of(&FIRST_REPORT);
    let mut resident = Samples::of(&RESIDENT);
    let mut proportional = Samples::of(&PROPORTIONAL);
    for subject in rounds.turns() {
        let bench = rounds.bench(subject)?;
        let start = Exporter::with(&bench, DEVICES).unheard();
        let started = Instant::now();
        let exporter = start.launch()?;
        let client = Client::patient(exporter.address()).await?;
        client.report().await?;
        first_report.add(subject, started.elapsed().as_secs_f64() * 1e3);

        client.is_ready().await?;
        let usage = Usage::of(&bench.processes())?;
        resident.add(subject, usage.resident / 1e6);
        proportional.add(subject, usage.proportional / 1e6);
    }
    Ok(vec![first_report, resident, proportional])
}
