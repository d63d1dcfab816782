//! Devices as programs play them: they speak the device's own protocol, keep its state, and can
//! misbehave.
//!
//! ```text
//! Ykush, Hub, Ftdi, relays  ┐            ┌ usbip:    a port of the kernel's virtual host controller
//! SdWire, MassStorage ─ scsi ┴─► Device ─┴ usbdevfs: what umockdev shows to one program
//!                │        └ expander: the switch of a USB-SD-Mux
//!                └─► muxed: the card, and who has it ──► Board: a Banana Pi that may boot from it
//!
//! shelly, tasmota, energenie, pdu ──► Wire: the network, which can garble what they say
//! lcus: relays on a serial line, and on USB   program: what a script switches
//! gadget: a reader by the kernel itself   disk: cards without one, and worn ones   gpio: lines
//! ```

mod board;
mod device;
mod disk;
mod dutlink;
mod energenie;
mod expander;
mod ftdi;
mod gadget;
mod gpio;
mod hub;
mod lcus;
mod mass_storage;
mod muxed;
mod pdu;
mod program;
mod scsi;
mod sdwire;
mod shelly;
mod tasmota;
mod usb_relay;
mod usbdevfs;
mod usbip;
mod wire;
mod ykush;

pub(crate) use self::board::{Board, FIRMWARE_AT, firmware};
pub(crate) use self::device::{Device, Model, Mood};
pub(crate) use self::disk::{FuseWithBadBlock, Loop, Worn, map_worn};
pub(crate) use self::dutlink::DutLink;
pub(crate) use self::energenie::{EnerGenie, energenie};
pub(crate) use self::expander::{Expander, Generation};
pub(crate) use self::ftdi::Ftdi;
pub(crate) use self::gadget::Reader;
pub(crate) use self::gpio::Chip;
pub(crate) use self::hub::Hub;
pub(crate) use self::lcus::{HidRelays, SerialRelays};
pub(crate) use self::mass_storage::MassStorage;
pub(crate) use self::muxed::{Defect, MuxedCard, Side};
pub(crate) use self::pdu::pdu;
pub(crate) use self::program::Program;
pub(crate) use self::scsi::Slot;
pub(crate) use self::sdwire::SdWire;
pub(crate) use self::shelly::{first_shelly, shelly};
pub(crate) use self::tasmota::{tasmota, tasmota_with_web};
pub(crate) use self::usb_relay::UsbRelay;
pub(crate) use self::usbdevfs::{Shown, Testbed};
pub(crate) use self::usbip::{Plugged, SOCKETS, plug};
pub(crate) use self::wire::Wire;
pub(crate) use self::ykush::{Board as YkushBoard, Ports, Ykush};

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
