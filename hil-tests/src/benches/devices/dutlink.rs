//! A DUT Link with a stick in it, which is the card of the bench.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::host::{Host, OnUsb};
use crate::emulator::{self, MassStorage, MuxedCard, Side, Slot};

/// A board, which is plugged in. The stick is on the host's bus as long as the board leads it there.
#[derive(Debug)]
pub(super) struct DutLink {
    pub(super) stick: Arc<MuxedCard>,
    board: OnUsb<emulator::DutLink>,
    on_usb: Arc<OnUsb<MassStorage>>,
    _switch: JoinSet<()>,
}

impl DutLink {
    /// The ports of the host that both belong into.
    const PORTS: (u8, u8) = (4, 5);

    pub(super) async fn new(host: &Arc<Host>, serial: &str, stick: Arc<MuxedCard>) -> Result<Self> {
        let slot = Slot::new(Arc::clone(&stick), ("SanDisk", "Ultra"), None);
        let strings = ["SanDisk", "Ultra", &format!("{serial}-stick")];
        let board = emulator::DutLink::new(serial, Arc::clone(&stick));
        let board = OnUsb::new(host, Self::PORTS.0, board)?;
        board.is_there().await?;
        let on_usb = OnUsb::unplugged(host, Self::PORTS.1, MassStorage::new(STICK, strings, slot));
        let on_usb = Arc::new(on_usb);
        let mut switch = JoinSet::new();
        switch.spawn(follow(stick.sides(), Arc::clone(&on_usb)));
        Ok(Self { stick, board, on_usb, _switch: switch })
    }

    /// Whether it gives power.
    pub(super) fn power(&self) -> watch::Receiver<bool> {
        self.board.device.with(|board| board.power())
    }

    /// Plugs it in again.
    pub(super) fn plug_in(&self) -> Result<()> {
        self.board.plug_in()
    }

    /// Pulls it out, with the stick.
    pub(super) async fn unplug(&self) -> Result<()> {
        self.on_usb.unplug().await?;
        self.board.unplug().await
    }
}

/// Leads the stick to the host, and away from it.
async fn follow(mut sides: watch::Receiver<Side>, stick: Arc<OnUsb<MassStorage>>) {
    loop {
        let side = *sides.borrow_and_update();
        let moved = match side {
            Side::Host => stick.plug_in(),
            Side::Dut | Side::Nobody => stick.unplug().await,
        };
        // Without the stick the case fails, and says why.
        if moved.is_err() || sides.changed().await.is_err() {
            return;
        }
    }
}

/// By the numbers of vendor and product.
const STICK: (u16, u16) = (0x0781, 0x5581);
