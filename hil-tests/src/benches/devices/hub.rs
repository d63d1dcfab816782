//! A YKUSH.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::sync::watch;

use super::host::{Host, OnUsb};
use super::outlet::{Outlet, ports};
use crate::bench::POLL;
use crate::emulator::{Mood, Ports, Ykush, YkushBoard};
use crate::process::patiently;

/// A YKUSH, which is plugged in.
#[derive(Debug)]
pub(crate) struct Hub {
    board: OnUsb<Ykush>,
}

impl Hub {
    /// The port of the host that it belongs into.
    const PORT: u8 = 0;

    pub(in crate::benches) async fn new(host: &Arc<Host>, serial: &str) -> Result<Self> {
        let board = OnUsb::new(host, Self::PORT, Ykush::new(YkushBoard::Ykush, serial))?;
        board.is_there().await?;
        Ok(Self { board })
    }

    /// What its ports are, and will be.
    pub(in crate::benches) fn ports(&self) -> watch::Receiver<Ports> {
        self.board.device.with(|board| board.ports())
    }

    /// One of its ports; the first is 1.
    pub(in crate::benches) fn outlet(&self, port: usize) -> Outlet {
        ports(&self.board.device, port)
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) {
        self.board.device.answer(mood);
    }

    /// Waits until it has got another report.
    pub(crate) async fn hears(&self, before: usize) -> Result<()> {
        let heard = async {
            while self.heard() == before {
                tokio::time::sleep(POLL).await;
            }
        };
        patiently("the hub to be asked", heard).await
    }

    /// How many reports it has got so far.
    pub(crate) fn heard(&self) -> usize {
        self.board.device.heard()
    }

    /// The ports of the board are like this.
    pub(crate) fn must_have(&self, expected: [bool; 3]) -> Result<()> {
        let ports = *self.ports().borrow();
        ensure!(ports[..3] == expected, "the ports should be {expected:?} and are {ports:?}");
        Ok(())
    }

    /// Plugs it in.
    pub(crate) fn plug_in(&self) -> Result<()> {
        self.board.plug_in()
    }

    /// Pulls it out. It keeps its state, as a board with a supply of its own does.
    pub(crate) async fn unplug(&self) -> Result<()> {
        self.board.unplug().await
    }
}
