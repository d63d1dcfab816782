//! Devices on USB.
//!
//! The kernel's list says what is plugged in where, without opening anything; libusb opens. A device
//! that is open is open once in this process, whoever uses it: its ports and all exporters share the
//! connection, one call at a time. A device that is unplugged is opened again when it comes back.
//!
//! ```text
//! driver ──► Device ──► Bus ──► listing: /sys/bus/usb/devices     which one is meant?
//!                        └────► Open: libusb                      one connection a device
//! ```

mod access;
mod bus;
mod connection;
mod device;
mod listing;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use self::access::{holder, node, udev_rule};
pub(crate) use self::bus::Bus;
#[cfg(test)]
pub(crate) use self::connection::Open;
pub(crate) use self::connection::{Claim, Connection, Control};
pub(crate) use self::device::{Device, patience};
pub(crate) use self::listing::{Kind, Plugged, Wanted};
