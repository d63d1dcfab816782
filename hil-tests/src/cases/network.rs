//! The network drivers: connections from the client's host into the bench's network.

use anyhow::{Context as _, Result, ensure};
use indoc::{formatdoc, indoc};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::cases;
use crate::bench::Bench;
use crate::peers::network::{TcpReverser, UdpReverser, UnixReverser};
use crate::process::{Process, patiently};
use crate::subject::{Exporter, free_port};

cases![forward_tcp, forward_unix, unix, udp, websocket, echo, address, nobody_listens];

async fn tcp<'b>(bench: &'b Bench, port: u16) -> Result<Exporter<'b>> {
    let config = formatdoc! {"
        export:
          tcp:
            type: jumpstarter_driver_network.driver.TcpNetwork
            config: {{host: 127.0.0.1, port: {port}}}
    "};
    Exporter::start(bench, &config).await
}

/// Says `words` over a connection, ends this half of it, and expects them back in reverse.
async fn converse(mut connection: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) -> Result<()> {
    let mut answer = Vec::new();
    let conversation = async {
        connection.write_all(words).await?;
        connection.shutdown().await?;
        connection.read_to_end(&mut answer).await
    };
    patiently("the answer over a forwarded connection", conversation)
        .await?
        .context("a forwarded connection")?;
    ensure!(answer.iter().rev().eq(words), "the answer should be the words in reverse: {answer:?}");
    Ok(())
}

async fn forward_tcp(bench: &Bench) -> Result<()> {
    let server = TcpReverser::start().await?;
    let exporter = tcp(bench, server.port()).await?;
    let port = free_port()?;
    let mut forward = exporter.client().start_j(&[
        "tcp",
        "forward-tcp",
        "--address",
        "127.0.0.1",
        &port.to_string(),
    ])?;
    forward.prints(&format!("127.0.0.1:{port}")).await?;
    // Two at once, of which the second one ends first.
    let first = TcpStream::connect(("127.0.0.1", port)).await?;
    converse(TcpStream::connect(("127.0.0.1", port)).await?, b"second").await?;
    converse(first, &b"first".repeat(100_000)).await
}

async fn forward_unix(bench: &Bench) -> Result<()> {
    let server = TcpReverser::start().await?;
    let exporter = tcp(bench, server.port()).await?;
    let _forward = forwarded_to_unix(bench, &exporter, "tcp").await?;
    converse(UnixStream::connect(bench.path("forwarded")).await?, b"over a socket file").await
}

/// Starts to forward the socket `forwarded` on the bench to a driver.
async fn forwarded_to_unix(
    bench: &Bench,
    exporter: &Exporter<'_>,
    driver: &str,
) -> Result<Process> {
    let path = bench.path("forwarded").display().to_string();
    let mut forward = exporter.client().start_j(&[driver, "forward-unix", &path])?;
    forward.prints(&path).await?;
    Ok(forward)
}

async fn unix(bench: &Bench) -> Result<()> {
    let path = bench.path("server");
    let _server = UnixReverser::start(&path)?;
    let config = formatdoc! {"
        export:
          unix:
            type: jumpstarter_driver_network.driver.UnixNetwork
            config: {{path: {}}}
    ", path.display()};
    let exporter = Exporter::start(bench, &config).await?;
    let _forward = forwarded_to_unix(bench, &exporter, "unix").await?;
    converse(UnixStream::connect(bench.path("forwarded")).await?, b"from file to file").await
}

async fn udp(bench: &Bench) -> Result<()> {
    let server = UdpReverser::start().await?;
    let config = formatdoc! {"
        export:
          udp:
            type: jumpstarter_driver_network.driver.UdpNetwork
            config: {{host: 127.0.0.1, port: {}}}
    ", server.port()};
    let exporter = Exporter::start(bench, &config).await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            with client.udp.stream() as stream:
                for datagram in b'first', b'second', b'x' * 1400:
                    stream.send(datagram)
                    assert stream.receive() == datagram[::-1], datagram
    "};
    exporter.client().python(script).await?;
    Ok(())
}

async fn websocket(bench: &Bench) -> Result<()> {
    let port = free_port()?;
    let mut command = bench.command(bench.prepared().reference.join("python"));
    command.args(["-m", "websocket_reverser", &port.to_string()]);
    let mut server = bench.start("the websocket server", command)?;
    server.prints("ready").await?;
    let config = formatdoc! {"
        export:
          ws:
            type: jumpstarter_driver_network.driver.WebsocketNetwork
            config: {{url: 'ws://127.0.0.1:{port}/console'}}
    "};
    let exporter = Exporter::start(bench, &config).await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            with client.ws.stream() as stream:
                for message in b'first', b'second' * 1000:
                    stream.send(message)
                    assert stream.receive() == message[::-1], message
    "};
    exporter.client().python(script).await?;
    server.prints("asked for /console").await
}

async fn echo(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        "export: {echo: {type: jumpstarter_driver_network.driver.EchoNetwork}}",
    )
    .await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            with client.echo.stream() as first, client.echo.stream() as second:
                first.send(b'first')
                second.send(b'second')
                assert second.receive() == b'second'
                assert first.receive() == b'first'
    "};
    exporter.client().python(script).await?;
    Ok(())
}

async fn address(bench: &Bench) -> Result<()> {
    let config = indoc! {"
        export:
          open:
            type: jumpstarter_driver_network.driver.TcpNetwork
            config: {host: localhost, port: 8080}
          closed:
            type: jumpstarter_driver_network.driver.TcpNetwork
            config: {host: 127.0.0.1, port: 8080, enable_address: false}
          udp:
            type: jumpstarter_driver_network.driver.UdpNetwork
            config: {host: 127.0.0.1, port: 8080}
          echo:
            type: jumpstarter_driver_network.driver.EchoNetwork
    "};
    let exporter = Exporter::start(bench, config).await?;
    let script = indoc! {r#"
        from jumpstarter.client.core import DriverInvalidArgument, DriverMethodNotImplemented
        from jumpstarter.utils.env import env
        from raw import raises
        with env() as client:
            address = client.open.address()
            assert address in ("tcp://127.0.0.1:8080", "tcp://[::1]:8080"), address
            assert client.udp.address() == "udp://127.0.0.1:8080", client.udp.address()
            with raises(DriverInvalidArgument, "enable_address mode is not true"):
                client.closed.address()
            with raises(DriverMethodNotImplemented):
                client.echo.address()
    "#};
    exporter.client().python(script).await?;
    exporter.client().j(&["echo", "address"]).await?.with_code(1)?;
    Ok(())
}

async fn nobody_listens(bench: &Bench) -> Result<()> {
    let exporter = tcp(bench, free_port()?).await?;
    let script = indoc! {r#"
        from anyio import BrokenResourceError, EndOfStream
        from jumpstarter.utils.env import env
        with env() as client:
            try:
                with client.tcp.stream() as stream:
                    stream.receive()
            except BrokenResourceError:
                pass
            else:
                raise AssertionError("a connection to nobody should break")
            assert client.tcp.address().startswith("tcp://127.0.0.1:")
    "#};
    exporter.client().python(script).await?;
    Ok(())
}
