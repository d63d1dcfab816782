//! A serial port: a pseudo-terminal with a device at its other end that echoes.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use indoc::formatdoc;
use nix::fcntl::OFlag;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use super::streams::{both_ways, pings};
use super::{Measurement, Run};
use crate::bench::Bench;
use crate::peers::serial::{Device, Peer};
use crate::process::Process;
use crate::speed::client::Stream;
use crate::speed::each::Each;
use crate::speed::rounds::{Exporters, Rounds, WHILE};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::quantile;
use crate::subject::Subject;

pub(super) const SERIAL: Measurement = Measurement {
    name: "serial",
    how: "the same through PySerial and a pseudo-terminal whose other end echoes, with chunks of \
          1 KiB; bare is the pseudo-terminal without an exporter.",
    profile: Some(
        "a byte goes through the connection and through the pseudo-terminal, and there is no more to it \
         than what the bare rows of `ping` and of this add up to.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(measure(rounds)) },
};

pub(super) const BAUD: Measurement = Measurement {
    name: "baud",
    how: "a device sends at 921600 baud, which are 92,160 bytes a second, for three seconds into a \
          pseudo-terminal that PySerial reads, and loses what the terminal's buffers do not take; \
          meanwhile two other processes for each processor are busy. A client counts what arrives.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(baud(rounds)) },
};

static PING_P50: Row = Row {
    title: "serial (pty) ping, 1 B, p50",
    unit: Unit::US,
    targets: &[Target::OverBare(45.0)],
};
static PING_P99: Row = Row {
    title: "serial (pty) ping, 1 B, p99",
    unit: Unit::US,
    targets: &[Target::OverBare(300.0)],
};
static DUPLEX: Row = Row {
    title: "serial (pty) duplex, 1 KiB frames",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::TimesPython(5.0)],
};

static LOST: Row = Row {
    title: "serial (pty), 921600 baud on a busy machine: bytes lost of 276,480",
    unit: Unit::FEW,
    targets: &[Target::Figure(0.0)],
};

const SIZE: usize = 1024;

async fn measure(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut p50 = Samples::of(&PING_P50);
    let mut p99 = Samples::of(&PING_P99);
    let mut duplex = Samples::of(&DUPLEX);
    let lines = Each::new(|_| Peer::echo())?;
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |subject| driver(lines[subject].port())).await?;
    for subject in rounds.turns() {
        let (latencies, rate) = match subject {
            Subject::Bare => block_in_place(|| -> Result<_> {
                let port = open(lines[subject].port())?;
                Ok((bare_pings(&port)?, bare_both_ways(&port)?))
            })?,
            Subject::Hilt | Subject::Python => {
                let client = exporters.client(subject).await?;
                let uuid = client.uuid("serial").await?;
                let latencies = pings(client.stream(&uuid).await?).await?;
                (latencies, both_ways(client.stream(&uuid).await?, SIZE).await?)
            }
        };
        p50.add(subject, quantile(latencies.clone(), 0.5));
        p99.add(subject, quantile(latencies, 0.99));
        duplex.add(subject, rate);
    }
    Ok(vec![p50, p99, duplex])
}

fn driver(port: &str) -> String {
    formatdoc! {"
        export:
          serial:
            type: jumpstarter_driver_pyserial.driver.PySerial
            config: {{url: {port}, baudrate: 921600}}
    "}
}

async fn baud(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut lost = Samples::of(&LOST);
    let devices = Each::new(|_| Device::new())?;
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |subject| driver(devices[subject].port())).await?;
    for subject in rounds.turns().filter(|subject| *subject != Subject::Bare) {
        let client = exporters.client(subject).await?;
        let stream = client.stream(&client.uuid("serial").await?).await?;
        let _busy = busy(&benches[subject])?;
        let (talked, arrived) = tokio::join!(talk(&devices[subject]), listen(stream));
        talked?;
        lost.add(subject, f64::from(u32::try_from(TALK - arrived?)?));
    }
    Ok(vec![lost])
}

/// How much a device has to say, in three seconds of 10 bits a byte.
const TALK: usize = 3 * 92_160;

/// The bytes that a device sends, for ever.
fn bytes() -> impl Iterator<Item = u8> {
    (0..=250).cycle()
}

/// Sends them when they are due, whether anybody has room for them or not.
async fn talk(device: &Device) -> Result<()> {
    const A_BYTE: Duration = Duration::from_nanos(1_000_000_000 / 92_160);
    let all: Vec<u8> = bytes().take(TALK).collect();
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < TALK {
        sleep(Duration::from_millis(1)).await;
        let due = begun.elapsed().as_nanos() / A_BYTE.as_nanos();
        let due = usize::try_from(due)?.min(TALK);
        device.offer(&all[sent..due])?;
        sent = due;
    }
    Ok(())
}

/// Counts what arrives, until it is all or nothing comes any more.
async fn listen(mut stream: Stream) -> Result<usize> {
    const SILENCE: Duration = Duration::from_secs(1);
    let mut arrived = Vec::new();
    while arrived.len() < TALK
        && let Ok(chunk) = timeout(SILENCE, stream.next()).await
    {
        arrived.extend(chunk?.context("the port was closed")?);
    }
    let is_whole = arrived.len() == TALK;
    ensure!(!is_whole || bytes().take(TALK).eq(arrived.iter().copied()), "other bytes came");
    Ok(arrived.len())
}

/// Keeps the machine busy until it is dropped.
fn busy(bench: &Bench) -> Result<Vec<Process>> {
    let start = |_| {
        let mut shell = bench.command("sh");
        shell.args(["-c", "while :; do :; done"]);
        Process::start_unheard("something else", shell)
    };
    (0..2 * available_parallelism()?.get()).map(start).collect()
}

fn open(port: &str) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    options.open(port).with_context(|| format!("opening {port}"))
}

/// As [`pings`], without an exporter.
fn bare_pings(mut port: &File) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    let until = Instant::now() + WHILE;
    while Instant::now() < until {
        let sent = Instant::now();
        port.write_all(b"\0")?;
        port.read_exact(&mut [0])?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// As [`both_ways`], without an exporter.
fn bare_both_ways(port: &File) -> Result<f64> {
    const LAST: u8 = 1;
    let begun = Instant::now();
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let mut port = port;
            while begun.elapsed() < WHILE {
                port.write_all(&[0; SIZE])?;
            }
            port.write_all(&[LAST])
        });
        let (mut port, mut chunk, mut bytes) = (port, [0; 64 * 1024], 0);
        loop {
            let length = port.read(&mut chunk)?;
            bytes += length;
            if chunk[..length].last() == Some(&LAST) {
                break;
            }
        }
        sender.join().map_err(|_| anyhow!("the sender has panicked"))??;
        Ok(f64::from(u32::try_from(bytes)?) / 1e6 / begun.elapsed().as_secs_f64())
    })
}
