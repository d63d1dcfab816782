//! A serial console, with a device at the other end of a pseudo-terminal.

use anyhow::{Result, ensure};
use indoc::{formatdoc, indoc};
use nix::sys::signal::Signal;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::peers::serial::Device;
use crate::process::feed;
use crate::subject::Exporter;

cases![
    pipe[LeavingLosesTheEnd],
    pipe_in_both_directions,
    pexpect,
    one_stream_after_the_other[LeavingLosesTheEnd],
    loop_back,
    unplugged[UnplugLooksNormal],
    control_lines
];

pub(super) async fn console<'b>(bench: &'b Bench, url: &str) -> Result<Exporter<'b>> {
    let config = formatdoc! {"
        export:
          serial:
            type: jumpstarter_driver_pyserial.driver.PySerial
            config: {{url: '{url}', baudrate: 115200}}
    "};
    Exporter::start(bench, &config).await
}

async fn pipe(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    send_only(bench, &exporter, &device, b"reboot\n").await
}

async fn pipe_in_both_directions(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    let (mut pipe, input) = exporter.client().start_j_with_input(&["serial", "pipe"])?;
    feed(input, b"version\n").await?;
    device.receives(b"version\n").await?;
    // The end of the input is not the end of the line.
    device.send(b"U-Boot 2026.10\r\n")?;
    pipe.prints("U-Boot 2026.10").await?;
    device.send(b"\x00\x03\x11\x13\x1a\xffdone\n")?;
    pipe.prints("\0\u{3}\u{11}\u{13}\u{1a}\u{fffd}done").await
}

async fn pexpect(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            with client.serial.pexpect() as console:
                console.sendline('')
                console.expect_exact('login: ', timeout=20)
                console.sendline('root')
                console.expect(r'(\\w+)@board', timeout=20)
                print('logged in as', console.match.group(1).decode())
    "};
    let mut python = exporter.client().start_python(script)?;
    device.receives(b"\n").await?;
    device.send(b"board login: ")?;
    device.receives(b"root\n").await?;
    device.send(b"root@board:~# ")?;
    python.prints("logged in as root").await?;
    python.ends().await?.ok()?;
    Ok(())
}

async fn one_stream_after_the_other(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    for word in ["first", "second", "third"] {
        send_only(bench, &exporter, &device, word.as_bytes()).await?;
        device.is_released().await?;
    }
    Ok(())
}

/// Sends and leaves. With the reference, what is on its way when the client leaves may be lost, so
/// there the client stays until it has arrived.
async fn send_only(
    bench: &Bench,
    exporter: &Exporter<'_>,
    device: &Device,
    bytes: &[u8],
) -> Result<()> {
    let stays = bench.differs(Known::LeavingLosesTheEnd);
    let verb: &[&str] =
        if stays { &["serial", "pipe"] } else { &["serial", "pipe", "--no-output"] };
    let (pipe, input) = exporter.client().start_j_with_input(verb)?;
    feed(input, bytes).await?;
    device.receives(bytes).await?;
    if stays {
        pipe.signal(Signal::SIGKILL)?;
        pipe.ends().await?;
    } else {
        pipe.ends().await?.ok()?;
    }
    Ok(())
}

async fn loop_back(bench: &Bench) -> Result<()> {
    let exporter = console(bench, "loop://").await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            with client.serial.stream() as stream:
                content = bytes(range(256)) * 64
                stream.send(content)
                received = b''
                while len(received) < len(content):
                    received += stream.receive()
                assert received == content
    "};
    exporter.client().python(script).await?;
    Ok(())
}

async fn unplugged(bench: &Bench) -> Result<()> {
    let device = Device::new()?;
    let exporter = console(bench, device.port()).await?;
    let (mut pipe, input) = exporter.client().start_j_with_input(&["serial", "pipe"])?;
    feed(input, b"?").await?;
    device.receives(b"?").await?;
    device.send(b"still here\n")?;
    pipe.prints("still here").await?;
    drop(device);
    let told = if bench.differs(Known::UnplugLooksNormal) {
        "Serial connection closed normally"
    } else {
        "Serial connection lost"
    };
    ensure!(pipe.ends().await?.ok()?.contains(told), "the client should be told: {told}");
    exporter.client().j(&["serial", "--help"]).await?.ok()?;
    Ok(())
}

async fn control_lines(bench: &Bench) -> Result<()> {
    let exporter = console(bench, "loop://").await?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            for line in 'set_dtr', 'set_rts':
                for level in True, False:
                    client.serial.call(line, level)
            client.serial.call('close')
    "};
    exporter.client().python(script).await?;
    Ok(())
}
