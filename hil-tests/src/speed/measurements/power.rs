//! A power switch on USB.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::{Measurement, Run};
use crate::bench::Bench;
use crate::benches::preload;
use crate::emulator::{Device, Testbed, Ykush, YkushBoard};
use crate::speed::client::Client;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::median;
use crate::subject::{Exporter, Subject, program};

pub(super) const POWER: Measurement = Measurement {
    name: "power",
    how: "calls `on` of a YKUSH, which this program plays and umockdev shows; bare is the same two \
          reports, one to switch and one to read back, and their answers, by a program that does \
          nothing else. Needs umockdev, which `hil-tests/sim/prepare` fetches.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(power(rounds)) },
};

static ON: Row = Row {
    title: "power call beside its USB transfers (emulated YKUSH), p50",
    unit: Unit::US,
    targets: &[Target::OverBare(1000.0)],
};

const DRIVER: &str = "
export:
  power:
    type: jumpstarter_driver_yepkit.driver.Ykush
    config: {serial: YK12345, port: '1'}
";

/// How often it is switched in a round.
const COUNT: usize = 300;

async fn power(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut samples = Samples::of(&ON);
    let preload = preload()?;
    for subject in rounds.turns() {
        let bench = rounds.bench(subject)?;
        let testbed = Testbed::new(bench.path("testbed"))?;
        let board = Arc::new(Device::new(Ykush::new(YkushBoard::Ykush, "YK12345")));
        let _plugged = testbed.plug(1, &board)?;
        let taken = match subject {
            Subject::Python => continue,
            Subject::Bare => transfers(&bench, &preload, testbed.directory()).await?,
            Subject::Hilt => {
                let exporter = Exporter::with(&bench, DRIVER).seeing(&preload, testbed.directory());
                calls(exporter.unheard().launch()?).await?
            }
        };
        samples.add(subject, taken);
    }
    Ok(vec![samples])
}

/// What a call takes, in microseconds.
async fn calls(exporter: Exporter<'_>) -> Result<f64> {
    let client = Client::patient(exporter.address()).await?;
    client.is_ready().await?;
    let uuid = client.uuid("power").await?;
    let mut taken = Vec::new();
    for _ in 0..COUNT {
        let called = Instant::now();
        client.call(&uuid, "on", Vec::new()).await?;
        taken.push(called.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(taken))
}

/// What the transfers of a call take, in microseconds.
async fn transfers(bench: &Bench, preload: &Path, testbed: &Path) -> Result<f64> {
    let mut command = bench.command(program(bench)?);
    command.arg("switch-port").arg(COUNT.to_string());
    command.env("LD_PRELOAD", preload).env("UMOCKDEV_DIR", testbed);
    let output = bench.start("the bare transfers", command)?.ends().await?.ok()?;
    output.stdout().trim().parse().context("the time that they took")
}
