//! A serial port.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::host::{Host, OnUsb};
use crate::bench::POLL;
use crate::emulator::{Device, Ftdi};
use crate::peers::serial::Peer;
use crate::process::patiently;

/// A serial port.
#[derive(Debug)]
pub(crate) enum Console {
    Adapter(OnUsbConsole),
    /// A terminal of which what is sent comes back.
    Terminal(Peer),
}

/// An adapter on USB.
#[derive(Debug)]
pub(crate) struct OnUsbConsole(OnUsb<Ftdi>);

impl Console {
    const PATH: &str = "/dev/ttyUSB0";

    /// The port of the host that the adapter belongs into.
    const PORT: u8 = 1;

    /// A terminal.
    pub(in crate::benches) fn terminal() -> Result<Self> {
        Ok(Self::Terminal(Peer::echo()?))
    }

    /// An adapter, and what the host sends through it.
    pub(in crate::benches) async fn adapter(
        host: &Arc<Host>,
        serial: &str,
    ) -> Result<(Self, Arc<Device<Ftdi>>, mpsc::UnboundedReceiver<Vec<u8>>)> {
        let (ftdi, sent) = Ftdi::new(serial);
        let adapter = OnUsb::new(host, Self::PORT, ftdi)?;
        let device = Arc::clone(&adapter.device);
        let there = async {
            while !Path::new(Self::PATH).exists() {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the kernel to find the adapter", there).await?;
        Ok((Self::Adapter(OnUsbConsole(adapter)), device, sent))
    }

    /// The path of the port.
    pub(in crate::benches) fn path(&self) -> &str {
        match self {
            Self::Adapter(_) => Self::PATH,
            Self::Terminal(terminal) => terminal.port(),
        }
    }

    /// Plugs it in.
    pub(crate) fn plug_in(&self) -> Result<()> {
        self.on_usb()?.plug_in()
    }

    /// Pulls it out.
    pub(crate) async fn unplug(&self) -> Result<()> {
        self.on_usb()?.unplug().await
    }

    /// From now on the device at its other end takes nothing, or everything again.
    pub(crate) fn stop(&self, stop: bool) -> Result<()> {
        self.on_usb()?.device.with(|ftdi| ftdi.stop(stop));
        Ok(())
    }

    fn on_usb(&self) -> Result<&OnUsb<Ftdi>> {
        match self {
            Self::Adapter(OnUsbConsole(adapter)) => Some(adapter),
            Self::Terminal(_) => None,
        }
        .context("a terminal has no plug")
    }
}
