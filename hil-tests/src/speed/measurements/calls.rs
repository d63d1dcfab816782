//! Driver calls: one answer, or several.

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Measurement, Run};
use crate::speed::client::Client;
use crate::speed::rounds::{Exporters, Rounds, WHILE};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::median;
use crate::speed::usage::processor_time;
use crate::subject::Subject;

pub(super) const UNARY: Measurement = Measurement {
    name: "unary",
    how: "calls `on` of a mocked power switch, which logs that it was called: one call after the \
          other, and 64 at a time through 8 connections.",
    profile: Some(
        "of Hilt's processor time, the log line on stderr takes 11 %, the span that says which call \
         a message is about 5 %, the record for clients 3 %, and the passphrase's interceptor 2 %. \
         The bare server has none of these. The rest is the transport, which both share.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(unary(rounds)) },
};

pub(super) const ITEMS: Measurement = Measurement {
    name: "items",
    how: "calls `read` of a mocked power switch, which yields two measurements, and counts these.",
    profile: Some("runs of one program have had from 0.79 to 1.03 of it."),
    run: |rounds| -> Run<'_> { Box::pin(items(rounds)) },
};

static ONE_CALLER: Row = Row {
    title: "unary DriverCall, 1 caller, p50",
    unit: Unit::US,
    targets: &[Target::OfBare(1.3)],
};
static MANY_CALLERS: Row = Row {
    title: "unary DriverCall, 64 callers",
    unit: Unit::PER_SECOND,
    targets: &[Target::OfBare(0.8), Target::TimesPython(12.0)],
};
static PROCESSOR: Row = Row {
    title: "unary DriverCall, 64 callers, processor time a call",
    unit: Unit::US,
    targets: &[],
};
static ITEMS_ONE_CALLER: Row = Row {
    title: "streaming items, 1 caller",
    unit: Unit::PER_SECOND,
    targets: &[Target::OfBare(0.8)],
};
static ITEMS_MANY_CALLERS: Row = Row {
    title: "streaming items, 64 callers",
    unit: Unit::PER_SECOND,
    targets: &[Target::OfBare(0.8)],
};

const DEVICES: &str = "
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
";

const MANY: usize = 64;
const CONNECTIONS: usize = 8;

/// A connection, and the driver to call.
#[derive(Clone, Debug)]
struct Caller {
    client: Client,
    uuid: String,
}

impl Caller {
    async fn of(exporters: &Exporters<'_>, subject: Subject) -> Result<Self> {
        let client = exporters.client(subject).await?;
        let uuid = client.uuid("power").await?;
        Ok(Self { client, uuid })
    }

    async fn several(exporters: &Exporters<'_>, subject: Subject) -> Result<Vec<Self>> {
        let mut callers = Vec::new();
        for _ in 0..CONNECTIONS {
            callers.push(Self::of(exporters, subject).await?);
        }
        Ok(callers)
    }

    async fn call(self) -> Result<usize> {
        self.client.call(&self.uuid, "on", Vec::new()).await?;
        Ok(1)
    }

    async fn items(self) -> Result<usize> {
        self.client.items(&self.uuid, "read").await
    }
}

async fn unary(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut one = Samples::of(&ONE_CALLER);
    let mut many = Samples::of(&MANY_CALLERS);
    let mut processor = Samples::of(&PROCESSOR);
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| DEVICES.to_owned()).await?;
    for subject in rounds.turns() {
        let caller = Caller::of(&exporters, subject).await?;
        one.add(subject, latency(&caller).await?);

        let callers = Caller::several(&exporters, subject).await?;
        let processes = benches[subject].processes();
        let before = processor_time(&processes)?;
        let calls = at_once(&callers, MANY, Caller::call).await?;
        let used = processor_time(&processes)? - before;
        many.add(subject, calls.rate());
        processor.add(subject, used.as_secs_f64() * 1e6 / calls.count);
    }
    Ok(vec![one, many, processor])
}

async fn items(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut one = Samples::of(&ITEMS_ONE_CALLER);
    let mut many = Samples::of(&ITEMS_MANY_CALLERS);
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| DEVICES.to_owned()).await?;
    for subject in rounds.turns() {
        let callers = Caller::several(&exporters, subject).await?;
        one.add(subject, at_once(&callers, 1, Caller::items).await?.rate());
        many.add(subject, at_once(&callers, MANY, Caller::items).await?.rate());
    }
    Ok(vec![one, many])
}

/// What a call takes, in microseconds.
async fn latency(caller: &Caller) -> Result<f64> {
    const WARM_UP: usize = 50;
    for _ in 0..WARM_UP {
        caller.clone().call().await?;
    }
    let mut latencies = Vec::new();
    let until = Instant::now() + WHILE;
    while Instant::now() < until {
        let called = Instant::now();
        caller.clone().call().await?;
        latencies.push(called.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(latencies))
}

/// What was done in some time.
#[derive(Debug)]
struct Work {
    count: f64,
    seconds: f64,
}

impl Work {
    fn rate(&self) -> f64 {
        self.count / self.seconds
    }
}

/// Calls for a while, so many at a time, and counts what comes back.
async fn at_once<C>(callers: &[Caller], many: usize, call: fn(Caller) -> C) -> Result<Work>
where
    C: Future<Output = Result<usize>> + Send + 'static,
{
    let begun = Instant::now();
    let until = begun + WHILE;
    let mut tasks = JoinSet::new();
    for caller in callers.iter().cycle().take(many) {
        let caller = caller.clone();
        tasks.spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                count += call(caller.clone()).await?;
            }
            Ok::<_, anyhow::Error>(count)
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.context("a caller")??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Work { count: f64::from(u32::try_from(count)?), seconds })
}
