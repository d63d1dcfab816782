//! One port of one hub: switched by the kernel if it can, else past it.
//!
//! Since Linux 6.0 each port has a file `disable`: the kernel itself switches the power off, lets go of
//! what is plugged in, and leaves the port alone. Without it the hub is told directly. Then the kernel
//! may not notice, and leave the device in its list; or it may notice and switch the port on again, so
//! that it has to be told more than once.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::descriptor::{PortStatus, port_status, set_port_power};
use super::pair::Socket;
use crate::Result;
use crate::power::switch::Position;
use crate::usb::{Connection, Plugged};

/// A port of a hub that is plugged in.
#[derive(Debug, Clone)]
pub(super) struct Port {
    hub: Plugged,
    number: u8,
    /// The kernel's directory for the port.
    directory: PathBuf,
}

/// Who has switched a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Kernel,
    /// The hub, past the kernel, which may switch it back.
    Hub,
}

impl Port {
    /// A port of a hub in the kernel's list.
    pub(super) fn new(list: &Path, hub: Plugged, number: u8) -> Self {
        let configuration = fs::read_to_string(list.join(&hub.path).join("bConfigurationValue"));
        let configuration =
            configuration.map_or_else(|_| "1".into(), |text| text.trim().to_owned());
        let device = match hub.path.strip_prefix("usb") {
            Some(bus) => format!("{bus}-0"),
            None => hub.path.clone(),
        };
        let directory = list.join(format!("{device}:{configuration}.0/{}-port{number}", hub.path));
        Self { hub, number, directory }
    }

    /// What the kernel says is the same socket, for devices of the other speed.
    pub(super) fn peer(&self) -> Option<Socket> {
        let target = fs::read_link(self.directory.join("peer")).ok()?;
        let (hub, port) = target.file_name()?.to_str()?.rsplit_once("-port")?;
        Some(Socket { hub: hub.to_owned(), port: port.parse().ok()? })
    }

    /// Whether the kernel has heard that the hub switches the power of this port, alone or with others.
    pub(super) fn is_switchable(&self) -> bool {
        self.directory.join("power/pm_qos_no_power_off").exists()
    }

    /// Whether this is where a device hangs.
    pub(super) fn leads_to(&self, device: &Plugged) -> bool {
        let before = match self.hub.path.strip_prefix("usb") {
            Some(bus) => format!("{bus}-"),
            None => format!("{}.", self.hub.path),
        };
        device.path.strip_prefix(&before) == Some(&self.number.to_string())
    }

    /// Switches. Blocks.
    pub(super) fn switch(&self, hub: &mut dyn Connection, position: Position) -> Result<By> {
        let on = match position {
            Position::On => true,
            Position::Off => false,
        };
        match self.ask_kernel(on) {
            Ok(()) => return Ok(By::Kernel),
            // An older kernel.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                "the kernel does not switch {}/disable ({error}), so the hub is told past it; to let \
                 the exporter's group plugdev use it, add this line to \
                 /etc/udev/rules.d/70-hilt.rules: SUBSYSTEM==\"usb\", DRIVER==\"hub\", \
                 RUN+=\"/bin/sh -c 'chgrp plugdev $sys$devpath/*-port*/disable; \
                 chmod g+w $sys$devpath/*-port*/disable'\"",
                self.directory.display()
            ),
        }
        set_port_power(hub, self.number, on)?;
        Ok(By::Hub)
    }

    /// Asks the hub. Blocks.
    pub(super) fn status(&self, hub: &mut dyn Connection) -> Result<PortStatus> {
        port_status(hub, self.hub.usb, self.number)
    }

    fn ask_kernel(&self, on: bool) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(self.directory.join("disable"))?;
        file.write_all(if on { b"0" } else { b"1" })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of the hub at {}", self.number, self.hub.path)
    }
}
