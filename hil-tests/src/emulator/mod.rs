//! Devices as programs play them: they speak the device's own protocol, keep its state, and can
//! misbehave.
//!
//! ```text
//! Ykush ┐            ┌ usbip:      a port of the kernel's virtual host controller
//! Ftdi  ┴─► Device ──┴ usbdevfs:   the tree and the device nodes that umockdev shows to one program
//!
//! Reader: a card reader as a USB gadget        disk: cards without a reader, and with a bad block
//! Board:  a Banana Pi, as far as its firmware can tell
//! ```

mod board;
mod device;
mod disk;
mod ftdi;
mod reader;
mod usbdevfs;
mod usbip;
mod ykush;

pub(crate) use self::board::{Board, FIRMWARE_AT, firmware};
pub(crate) use self::device::Device;
pub(crate) use self::disk::{FuseWithBadBlock, Loop, map_with_bad_block};
pub(crate) use self::ftdi::Ftdi;
pub(crate) use self::reader::Reader;
pub(crate) use self::usbdevfs::{Shown, Testbed};
pub(crate) use self::usbip::{Plugged, plug};
pub(crate) use self::ykush::{Mood, Ykush};

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Runs one of the system's programs, and returns what it prints.
pub(crate) fn program(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let started = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.with_context(|| format!("starting {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("writing to {name}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for {name}"))?;
    ensure!(
        output.status.success(),
        "{name} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
