//! A serial port: a pseudo-terminal with a device at its other end that echoes.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use indoc::formatdoc;
use nix::fcntl::OFlag;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::streams::{both_ways, pings};
use super::{Measurement, Run};
use crate::peers::serial::Echo;
use crate::speed::each::Each;
use crate::speed::lab::{Exporters, Lab, WHILE};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::quantile;
use crate::subject::Subject;

pub(super) const SERIAL: Measurement = Measurement {
    name: "serial",
    how: "the same through PySerial and a pseudo-terminal whose other end echoes, with chunks of \
          1 KiB; bare is the pseudo-terminal without an exporter.",
    profile: None,
    run: |lab| -> Run<'_> { Box::pin(measure(lab)) },
};

static PING_P50: Row = Row {
    title: "serial (pty) ping, 1 B, p50",
    unit: Unit::US,
    targets: &[Target::OverBare(45.0)],
};
static PING_P99: Row = Row { title: "serial (pty) ping, 1 B, p99", unit: Unit::US, targets: &[] };
static DUPLEX: Row = Row {
    title: "serial (pty) duplex, 1 KiB frames",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::TimesPython(5.0)],
};

const SIZE: usize = 1024;

async fn measure(lab: &Lab) -> Result<Vec<Samples>> {
    let mut p50 = Samples::of(&PING_P50);
    let mut p99 = Samples::of(&PING_P99);
    let mut duplex = Samples::of(&DUPLEX);
    let lines = Each::new(|_| Echo::start())?;
    let benches = lab.benches()?;
    let exporters = Exporters::start(&benches, |subject| {
        formatdoc! {"
            export:
              serial:
                type: jumpstarter_driver_pyserial.driver.PySerial
                config: {{url: {}, baudrate: 115200}}
        ", lines[subject].port()}
    });
    let exporters = exporters.await?;
    for subject in lab.turns() {
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
