//! A Banana Pi M2 Ultra, as far as its firmware can tell: QEMU, which boots what is on the card as
//! the real one does, and is silent if nothing is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::device::Device;
use super::ftdi::Ftdi;
use crate::prepared::cache;

/// Where a real one looks for its firmware on the card, in bytes.
pub(crate) const FIRMWARE_AT: usize = 8192;

/// The directory that `hil-tests/dut/prepare` makes.
fn home() -> Result<PathBuf> {
    Ok(cache()?.join("dut-2"))
}

/// U-Boot for this board: what belongs onto a card at [`FIRMWARE_AT`].
pub(crate) fn firmware() -> Result<Vec<u8>> {
    let path = home()?.join("bananapi.bin");
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// What a board is connected to.
#[derive(Debug)]
pub(crate) struct Board {
    /// The ports of the hub; the first one is its power.
    pub(crate) power: watch::Receiver<[bool; 3]>,
    /// The adapter at its serial port, and what arrives from there.
    pub(crate) console: Arc<Device<Ftdi>>,
    pub(crate) typed: mpsc::UnboundedReceiver<Vec<u8>>,
    /// The card. It is looked at when the board gets power.
    pub(crate) card: PathBuf,
}

impl Board {
    /// Is switched on and off by the hub, until that is gone.
    pub(crate) async fn live(mut self) -> Result<()> {
        while turns(&mut self.power, true).await {
            self.run().await?;
        }
        Ok(())
    }

    /// From power-on to power-off.
    async fn run(&mut self) -> Result<()> {
        // What was typed while it was off went nowhere.
        while self.typed.try_recv().is_ok() {}
        let mut board = start(&self.card)?;
        let mut transmit = board.stdout.take().context("its output is piped")?;
        let mut receive = board.stdin.take().context("its input is piped")?;
        let mut bytes = [0; 4096];
        loop {
            tokio::select! {
                biased;
                _ = turns(&mut self.power, false) => break,
                typed = self.typed.recv() => {
                    let typed = typed.context("the adapter lives as long as the board")?;
                    receive.write_all(&typed).await.context("writing to the board")?;
                }
                length = transmit.read(&mut bytes) => {
                    let length = length.context("reading from the board")?;
                    if length == 0 {
                        break;
                    }
                    self.console.with(|ftdi| ftdi.send(&bytes[..length]));
                }
            }
        }
        board.kill().await.context("switching the board off")
    }
}

/// Waits until the power is on, or off. False: the hub is gone.
async fn turns(power: &mut watch::Receiver<[bool; 3]>, on: bool) -> bool {
    power.wait_for(|ports| ports[0] == on).await.is_ok()
}

fn start(card: &Path) -> Result<Child> {
    Command::new(home()?.join("programs/qemu-system-arm"))
        .args(["-M", "bpim2u", "-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-nic", "none", "-drive"])
        .arg(format!("if=sd,format=raw,file.locking=off,file={}", card.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting the board")
}
