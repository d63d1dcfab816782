//! Several clients, and clients that go without saying good-bye.

use anyhow::{Result, ensure};
use indoc::{formatdoc, indoc};
use nix::sys::signal::Signal;

use super::cases;
use super::serial::console;
use crate::bench::Bench;
use crate::peers::network::TcpReverser;
use crate::peers::serial::Device;
use crate::process::feed;
use crate::subject::Exporter;

cases![
    two_at_once,
    killed_in_a_forwarded_connection,
    killed_at_a_console,
    killed_while_flashing,
    interrupted_call
];

const STEPS: &str = indoc! {"
    export:
      shell:
        type: jumpstarter_driver_shell.driver.Shell
        config:
          methods:
            first: 'touch first; until [ -e second ]; do sleep 0.05; done; echo met'
            second: 'touch second; until [ -e first ]; do sleep 0.05; done; echo met'
"};

async fn two_at_once(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, STEPS).await?;
    // Each call waits for the other one to run.
    let first = exporter.client().start_j(&["shell", "first"])?;
    let second = exporter.client().start_j(&["shell", "second"])?;
    first.ends().await?.ok()?;
    second.ends().await?.ok()?;
    Ok(())
}

async fn killed_in_a_forwarded_connection(bench: &Bench) -> Result<()> {
    let mut server = TcpReverser::start().await?;
    let config = formatdoc! {"
        export:
          tcp:
            type: jumpstarter_driver_network.driver.TcpNetwork
            config: {{host: 127.0.0.1, port: {}}}
    ", server.port()};
    let exporter = Exporter::start(bench, &config).await?;
    let script = indoc! {"
        import time
        from jumpstarter.utils.env import env
        with env() as client:
            with client.tcp.stream() as stream:
                stream.send(b'hello')
                print('connected', flush=True)
                time.sleep(600)
    "};
    let mut client = exporter.client().start_python(script)?;
    client.prints("connected").await?;
    client.signal(Signal::SIGKILL)?;
    server.has_seen_the_end_of(1).await
}

async fn killed_at_a_console(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    let (pipe, input) = exporter.client().start_j_with_input(&["serial", "pipe"])?;
    feed(input, b"hello").await?;
    device.receives(b"hello").await?;
    pipe.signal(Signal::SIGKILL)?;
    device.is_released().await?;
    let (pipe, input) = exporter.client().start_j_with_input(&["serial", "pipe", "--no-output"])?;
    feed(input, b"hello again").await?;
    device.receives(b"hello again").await?;
    pipe.ends().await?.ok()?;
    Ok(())
}

async fn killed_while_flashing(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        "export: {flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}}",
    )
    .await?;
    bench.write("image", b"a whole image")?;
    let script = indoc! {"
        import threading
        from raw import DATA, Exporter, frame
        import json
        exporter = Exporter()
        uuid = exporter.uuid('flasher')

        def frames():
            yield frame(DATA, b'half an image')
            print('half of it sent', flush=True)
            threading.Event().wait()

        stream = exporter.stream({'kind': 'resource', 'uuid': uuid}, frames())
        handle = json.loads(dict(stream.initial_metadata())['resource'])
        exporter.call(uuid, 'flash', handle, None)
    "};
    let mut client = exporter.client().start_python(script)?;
    client.prints("half of it sent").await?;
    client.signal(Signal::SIGKILL)?;
    exporter.client().j(&["flasher", "flash", "image"]).await?.ok()?;
    exporter.client().j(&["flasher", "dump", "dump"]).await?.ok()?;
    ensure!(bench.read("dump")? == b"a whole image", "the second image should be on the device");
    Ok(())
}

/// Ctrl-C at `j` ends what it waits for, and the exporter goes on.
async fn interrupted_call(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, STEPS).await?;
    let call = exporter.client().start_j(&["shell", "first"])?;
    bench.file("first").await?;
    call.signal(Signal::SIGINT)?;
    call.ends().await?.with_code(2)?;
    let next = exporter.client().start_j(&["shell", "second"])?;
    next.ends().await?.ok()?;
    Ok(())
}
