//! Byte streams: one byte back and forth, and as much as goes through.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use indoc::formatdoc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Measurement, Run};
use crate::speed::client::{Stream, finish, next, send};
use crate::speed::rounds::{Exporters, Rounds, WHILE};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::quantile;

pub(super) const PING: Measurement = Measurement {
    name: "ping",
    how: "sends one byte through a stream of EchoNetwork, and the next when it is back.",
    profile: Some(
        "each chunk passes one task more than in the bare server, as a client that sends without \
         reading must not block the device; where that wakes another thread, it is what is seen.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(ping(rounds)) },
};

pub(super) const DUPLEX: Measurement = Measurement {
    name: "duplex",
    how: "sends chunks of 64 KiB through a stream of EchoNetwork and receives them at the same \
          time; bytes that went there and back count once.",
    profile: Some(
        "the kernel's sockets and memory take most of it. Each chunk passes one task more than in \
         the bare server, as a client that sends without reading must not block the device.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(duplex(rounds)) },
};

pub(super) const TCP: Measurement = Measurement {
    name: "tcp",
    how: "the same with chunks of 1 KiB and TcpNetwork, with an echo server behind it. The bare \
          server echoes by itself.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(tcp(rounds)) },
};

static PING_P50: Row =
    Row { title: "stream ping, 1 B, p50", unit: Unit::US, targets: &[Target::OfBare(1.3)] };
static PING_P99: Row =
    Row { title: "stream ping, 1 B, p99", unit: Unit::US, targets: &[Target::OfBare(1.3)] };
static DUPLEX_64_KIB: Row = Row {
    title: "stream duplex, 64 KiB frames",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.9)],
};
static TCP_1_KIB: Row = Row {
    title: "TcpNetwork duplex, 1 KiB frames",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::TimesPython(10.0)],
};

pub(super) const ECHO: &str = "
export:
  echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
";

async fn ping(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut p50 = Samples::of(&PING_P50);
    let mut p99 = Samples::of(&PING_P99);
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| ECHO.to_owned()).await?;
    for subject in rounds.turns() {
        let client = exporters.client(subject).await?;
        let stream = client.stream(&client.uuid("echo").await?).await?;
        let latencies = pings(stream).await?;
        p50.add(subject, quantile(latencies.clone(), 0.5));
        p99.add(subject, quantile(latencies, 0.99));
    }
    Ok(vec![p50, p99])
}

async fn duplex(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut rate = Samples::of(&DUPLEX_64_KIB);
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| ECHO.to_owned()).await?;
    for subject in rounds.turns() {
        let client = exporters.client(subject).await?;
        let stream = client.stream(&client.uuid("echo").await?).await?;
        rate.add(subject, both_ways(stream, 64 * 1024).await?);
    }
    Ok(vec![rate])
}

async fn tcp(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut rate = Samples::of(&TCP_1_KIB);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("binding an echo server")?;
    let port = listener.local_addr()?.port();
    let mut echo = JoinSet::new();
    echo.spawn(serve_echo(listener));
    let devices = formatdoc! {"
        export:
          tcp:
            type: jumpstarter_driver_network.driver.TcpNetwork
            config: {{host: 127.0.0.1, port: {port}}}
    "};
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| devices.clone()).await?;
    for subject in rounds.turns() {
        let client = exporters.client(subject).await?;
        let stream = client.stream(&client.uuid("tcp").await?).await?;
        rate.add(subject, both_ways(stream, 1024).await?);
    }
    Ok(vec![rate])
}

async fn serve_echo(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(echo(connection));
    }
}

async fn echo(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut chunk = vec![0; 64 * 1024];
    while let length @ 1.. = connection.read(&mut chunk).await? {
        connection.write_all(&chunk[..length]).await?;
    }
    Ok(())
}

/// What one byte takes to go through and come back, in microseconds, again and again for a while.
pub(super) async fn pings(mut stream: Stream) -> Result<Vec<f64>> {
    const WARM_UP: usize = 50;
    let byte = Bytes::from_static(b"\0");
    let mut latencies = Vec::new();
    let until = Instant::now() + WHILE;
    while Instant::now() < until {
        let sent = Instant::now();
        send(&stream.frames, byte.clone()).await?;
        stream.next().await?.context("the echo ended early")?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies.split_off(WARM_UP.min(latencies.len())))
}

/// How much goes through a stream and comes back, in 10⁶ bytes a second.
pub(super) async fn both_ways(stream: Stream, size: usize) -> Result<f64> {
    /// The last byte of all; the others are 0.
    const LAST: u8 = 1;
    let Stream { frames, mut replies } = stream;
    let begun = Instant::now();
    let until = begun + WHILE;
    let mut sender = JoinSet::new();
    sender.spawn(async move {
        let chunk = Bytes::from(vec![0; size]);
        while Instant::now() < until {
            send(&frames, chunk.clone()).await?;
        }
        let mut last = chunk.to_vec();
        last[size - 1] = LAST;
        send(&frames, last.into()).await?;
        finish(frames).await
    });
    let mut bytes = 0;
    while let Some(chunk) = next(&mut replies).await? {
        bytes += chunk.len();
        if chunk.last() == Some(&LAST) {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    sender.join_next().await.context("the sender was just spawned")???;
    Ok(f64::from(u32::try_from(bytes)?) / 1e6 / seconds)
}
