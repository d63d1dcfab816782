//! Many exporters in one process, with nothing to do.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{Measurement, Run};
use crate::speed::lab::Lab;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::usage::{Usage, processor_time};
use crate::subject::Subject;

pub(super) const MANY: Measurement = Measurement {
    name: "many",
    how: "100 exporters with two mocked drivers each in one process, in a lab without clients: what \
          the process occupies once all are AVAILABLE, and which share of one processor it takes in \
          the five seconds after that.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(measure(rounds)) },
};

static MEMORY: Row = Row {
    title: "100 exporters in one process, idle: resident memory",
    unit: Unit::MB,
    targets: &[Target::Figure(100.0)],
};
static FURTHER: Row = Row {
    title: "each further exporter in the process: resident memory",
    unit: Unit::MB,
    targets: &[Target::Figure(0.5)],
};
static PROCESSOR: Row = Row {
    title: "100 exporters in one process, idle: share of a processor",
    unit: Unit::PERCENT,
    targets: &[Target::Figure(1.0)],
};

const EXPORTERS: usize = 100;

/// How long it is watched.
const IDLE: Duration = Duration::from_secs(5);

const DEVICES: &str = "
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
  echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
";

async fn measure(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut memory = Samples::of(&MEMORY);
    let mut further = Samples::of(&FURTHER);
    let mut processor = Samples::of(&PROCESSOR);
    for subject in rounds.turns().filter(|subject| *subject == Subject::Hilt) {
        let (one, _) = idle(rounds, 1).await?;
        let (many, share) = idle(rounds, EXPORTERS).await?;
        memory.add(subject, many / 1e6);
        further.add(subject, (many - one) / f64::from(u32::try_from(EXPORTERS - 1)?) / 1e6);
        processor.add(subject, share * 100.0);
    }
    Ok(vec![memory, further, processor])
}

/// How much memory so many exporters occupy, in bytes, and which share of a processor they take.
async fn idle(rounds: &Rounds, count: usize) -> Result<(f64, f64)> {
    let bench = rounds.bench(Subject::Hilt)?;
    let lab = Lab::start(&bench, count, DEVICES).await?;
    let ann = lab.client("ann").await?;
    for number in 0..count {
        lab.is_free(&format!("bench-{number}"), &ann).await?;
    }
    let processes = bench.processes();
    let usage = Usage::of(&processes)?;
    let (before, begun) = (processor_time(&processes)?, Instant::now());
    sleep(IDLE).await;
    let used = processor_time(&processes)? - before;
    Ok((usage.resident, used.as_secs_f64() / begun.elapsed().as_secs_f64()))
}
