//! What devices on USB are plugged in to, and the cables.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

use crate::bench::{Bench, POLL};
use crate::benches::description::Place;
use crate::emulator::{Device, Model, Plugged, SOCKETS, Shown, Testbed, plug};
use crate::process::patiently;

/// The host of a bench, as far as USB is concerned.
#[derive(Debug)]
pub(crate) enum Host {
    /// A kernel of its own.
    Kernel,
    /// This host, which is shown devices that it does not have.
    Testbed(Testbed),
}

impl Host {
    pub(crate) fn new(place: Place, bench: &Bench) -> Result<Self> {
        Ok(match place {
            Place::Sim => Self::Testbed(Testbed::new(bench.path("testbed"))?),
            Place::Kernel | Place::Lab => Self::Kernel,
        })
    }

    /// The directory that an exporter has to be shown, if any.
    pub(crate) fn testbed(&self) -> Option<&Path> {
        match self {
            Self::Kernel => None,
            Self::Testbed(testbed) => Some(testbed.directory()),
        }
    }
}

/// A device and the port that it belongs into.
#[derive(Debug)]
pub(super) struct OnUsb<M> {
    pub(super) device: Arc<Device<M>>,
    host: Arc<Host>,
    port: u8,
    cable: Mutex<Option<Cable>>,
}

/// What a device is plugged in with. Dropping it pulls it out.
#[derive(Debug)]
enum Cable {
    Kernel { _plugged: Plugged },
    Testbed { _shown: Shown },
}

impl<M: Model> OnUsb<M> {
    /// Plugs a device in.
    pub(super) fn new(host: &Arc<Host>, port: u8, model: M) -> Result<Self> {
        let on_usb = Self::unplugged(host, port, model);
        on_usb.plug_in()?;
        Ok(on_usb)
    }

    /// A device that is not plugged in yet.
    pub(super) fn unplugged(host: &Arc<Host>, port: u8, model: M) -> Self {
        let device = Arc::new(Device::new(model));
        Self { device, host: Arc::clone(host), port, cable: Mutex::default() }
    }

    /// Plugs it in again.
    pub(super) fn plug_in(&self) -> Result<()> {
        let cable = match &*self.host {
            // umockdev counts from 1, as Linux does.
            Host::Testbed(testbed) => {
                Cable::Testbed { _shown: testbed.plug(self.port + 1, &self.device)? }
            }
            Host::Kernel => Cable::Kernel { _plugged: plug(self.port, &self.device)? },
        };
        *self.cable.lock().unwrap_or_else(PoisonError::into_inner) = Some(cable);
        Ok(())
    }

    /// Pulls it out. It keeps its state, as one with a supply of its own does.
    pub(super) async fn unplug(&self) -> Result<()> {
        drop(self.cable.lock().unwrap_or_else(PoisonError::into_inner).take());
        match &*self.host {
            Host::Testbed(_) => Ok(()),
            Host::Kernel => is_gone(self.port, self.device.describe(|said| said.usb())).await,
        }
    }

    /// The kernel has found it.
    pub(super) async fn is_there(&self) -> Result<()> {
        let there = async {
            while self.entry().is_none() {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the kernel to find a device", there).await
    }

    /// Its directory in the kernel's list, which has its numbers.
    fn entry(&self) -> Option<PathBuf> {
        let serial = self.device.describe(|said| said.strings[2].clone());
        let (_, product) = self.device.describe(|said| said.vendor_and_product());
        let product = format!("{product:04x}");
        let list = match &*self.host {
            Host::Testbed(testbed) => testbed.directory().join("sys/bus/usb/devices"),
            Host::Kernel => "/sys/bus/usb/devices".into(),
        };
        let mut entries = fs::read_dir(list).ok()?.flatten().map(|entry| entry.path());
        entries.find(|entry| {
            let is = |attribute: &str, expected: &str| {
                let found = fs::read_to_string(entry.join(attribute)).unwrap_or_default();
                found.trim() == expected
            };
            is("serial", &serial) && is("idProduct", &product)
        })
    }
}

/// The kernel has noticed that a port of the virtual host controller is empty: only then is it free
/// for something else.
async fn is_gone(port: u8, usb: u16) -> Result<()> {
    let empty = async {
        loop {
            let status = fs::read_to_string("/sys/devices/platform/vhci_hcd.0/status")?;
            // Speed, port, and a state that is 4 if the port is free.
            let prefix = match usb {
                ..0x0300 => format!("hs  {port:04} 004 "),
                0x0300.. => format!("ss  {:04} 004 ", port + SOCKETS),
            };
            if status.lines().any(|line| line.starts_with(&prefix)) {
                return std::io::Result::Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    patiently("the kernel to notice the unplugging", empty).await?.context("asking the kernel")
}
