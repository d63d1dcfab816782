//! The way to the mux: an I2C bus behind the card reader, Microchip's USB2642.
//!
//! The reader takes commands of its vendor's for it. Source: Microchip's "I2C over USB", page 20.

use std::path::Path;

use super::scsi::{Command, Data, Ended, Scsi};
use crate::{DriverError, Result};

/// The opcode of the vendor's commands.
const VENDOR: u8 = 0xCF;

/// Writes to the bus, and writes and then reads. Action 54 writes the reader's own configuration: a
/// wrong one makes it a brick, so nothing here knows how.
const WRITE: u8 = 0x23;
const WRITE_READ: u8 = 0x22;

/// What goes over USB with each command, in bytes, whatever of it goes over the bus.
const BLOCK: usize = 512;

/// A chip on the bus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chip<'r> {
    pub(super) scsi: &'r dyn Scsi,
    /// The reader.
    pub(super) reader: &'r Path,
    /// The chip's address, 7 bits.
    pub(super) address: u8,
}

impl Chip<'_> {
    /// Writes a register. Blocks.
    pub(super) fn write(&self, register: u8, value: u8) -> Result<()> {
        let mut data = [0; BLOCK];
        (data[0], data[1]) = (register, value);
        let mut command: Command = [0; 16];
        command[..7].copy_from_slice(&[VENDOR, WRITE, self.address << 1, 0, 0, 2, 0]);
        let ended = self.scsi.command(self.reader, &command, Data::Out(&data));
        self.check(ended, &format!("write {value:#04x} to register {register} of"), 2)
    }

    /// Reads a register. Blocks.
    pub(super) fn read(&self, register: u8) -> Result<u8> {
        let mut data = [0; BLOCK];
        let mut command: Command = [0; 16];
        let (write, read) = (self.address << 1, self.address << 1 | 1);
        command[..8].copy_from_slice(&[VENDOR, WRITE_READ, write, read, 0, 1, 1, register]);
        let ended = self.scsi.command(self.reader, &command, Data::In(&mut data));
        self.check(ended, &format!("read register {register} of"), 1)?;
        Ok(data[0])
    }

    fn check(&self, ended: std::io::Result<Ended>, doing: &str, least: usize) -> Result<()> {
        let what = || format!("{doing} the mux by {}", self.reader.display());
        let ended = ended.map_err(|error| failure(what(), error))?;
        match ended {
            Ended { host_status: NO_CONNECT | BAD_TARGET, .. } => {
                Err(DriverError::Disconnected(format!("{}: it was unplugged", what())))
            }
            Ended { host_status: TIME_OUT, .. } => {
                Err(DriverError::Timeout(format!("{}: it does not answer", what())))
            }
            Ended { host_status: 0, status: 0, transferred } if transferred >= least => Ok(()),
            Ended { host_status: 0, status: 0, transferred } => Err(DriverError::Device(format!(
                "{}: {transferred} bytes went over USB, and it takes {least}",
                what()
            ))),
            Ended { host_status: 0, status: CHECK_CONDITION, .. } => {
                Err(DriverError::Device(format!(
                    "{}: the reader could not; the chip that switches does not answer it",
                    what()
                )))
            }
            Ended { host_status, status, .. } => Err(DriverError::Device(format!(
                "{}: status {status:#04x} of the reader, {host_status:#04x} of USB",
                what()
            ))),
        }
    }
}

/// The status of a device that could not do what it was told.
const CHECK_CONDITION: u8 = 0x02;

/// `DID_NO_CONNECT`, `DID_TIME_OUT` and `DID_BAD_TARGET` of the kernel's `scsi/scsi_status.h`.
const NO_CONNECT: u16 = 1;
const TIME_OUT: u16 = 3;
const BAD_TARGET: u16 = 4;

/// The error of a command that didn't get to the device.
fn failure(what: String, error: std::io::Error) -> DriverError {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENODEV | Errno::ENXIO) => {
            DriverError::Disconnected(format!("{what}: it was unplugged ({error})"))
        }
        Some(Errno::EACCES | Errno::EPERM) => DriverError::PermissionDenied(format!(
            "{what}: {error}; add this line to /etc/udev/rules.d/70-hilt.rules, put the exporter's \
             user into the group plugdev, and run `udevadm control --reload && udevadm trigger`: \
             SUBSYSTEM==\"scsi_generic\", ATTRS{{product}}==\"usb-sd-mux*\", MODE=\"0660\", \
             GROUP=\"plugdev\""
        )),
        Some(_) | None => DriverError::io(what, error),
    }
}
