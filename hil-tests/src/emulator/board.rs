//! A Banana Pi M2 Ultra, as far as its firmware can tell: QEMU, which boots what is on the card as
//! the real one does, and is silent if nothing is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::device::Device;
use super::ftdi::Ftdi;
use super::muxed::Side;
use super::ykush::Ports;
use crate::bench::POLL;
use crate::prepared::cache;
use crate::process::patiently;

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
    pub(crate) power: watch::Receiver<Ports>,
    /// The adapter at its serial port, and what arrives from there.
    pub(crate) console: Arc<Device<Ftdi>>,
    pub(crate) typed: mpsc::UnboundedReceiver<Vec<u8>>,
    /// The card, and who has it: the board's slot is empty while that is somebody else.
    pub(crate) card: PathBuf,
    pub(crate) side: watch::Receiver<Side>,
    /// Where QEMU takes commands.
    pub(crate) control: PathBuf,
}

impl Board {
    /// Is switched on and off by the hub, until that is gone.
    pub(crate) async fn live(mut self) -> Result<()> {
        while turns(&mut self.power, true).await {
            self.run().await?;
        }
        Ok(())
    }

    /// From power-on to power-off, which may come before QEMU is up.
    async fn run(&mut self) -> Result<()> {
        // What was typed while it was off went nowhere.
        while self.typed.try_recv().is_ok() {}
        let has_card = *self.side.borrow_and_update() == Side::Dut;
        let mut board = self.start(has_card)?;
        let mut power = self.power.clone();
        tokio::select! {
            biased;
            _ = turns(&mut power, false) => {}
            end = self.serve(&mut board) => end?,
        }
        board.kill().await.context("switching the board off")
    }

    /// Connects what QEMU plays with what the board is connected to, until QEMU ends.
    async fn serve(&mut self, board: &mut Child) -> Result<()> {
        let mut control = Control::connect(&self.control).await?;
        let mut transmit = board.stdout.take().context("its output is piped")?;
        let mut receive = board.stdin.take().context("its input is piped")?;
        let mut bytes = [0; 4096];
        loop {
            tokio::select! {
                biased;
                moved = self.side.changed() => {
                    moved.context("the card is there as long as the board")?;
                    let has_card = *self.side.borrow_and_update() == Side::Dut;
                    control.insert(has_card.then_some(&*self.card)).await?;
                }
                typed = self.typed.recv() => {
                    let typed = typed.context("the adapter lives as long as the board")?;
                    receive.write_all(&typed).await.context("writing to the board")?;
                }
                length = transmit.read(&mut bytes) => {
                    let length = length.context("reading from the board")?;
                    if length == 0 {
                        return Ok(());
                    }
                    self.console.with(|ftdi| ftdi.send(&bytes[..length]));
                }
            }
        }
    }

    fn start(&self, has_card: bool) -> Result<Child> {
        // What a board finds in its slot when it gets power decides whether it starts.
        let file = match has_card {
            true => format!(",format=raw,file.locking=off,file={}", self.card.display()),
            false => String::new(),
        };
        Command::new(home()?.join("programs/qemu-system-arm"))
            .args(["-M", "bpim2u", "-display", "none", "-serial", "stdio", "-nic", "none"])
            .args(["-drive", &format!("if=sd,id={SLOT}{file}")])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", self.control.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting the board")
    }
}

/// Waits until the power is on, or off. False: the hub is gone.
async fn turns(power: &mut watch::Receiver<Ports>, on: bool) -> bool {
    power.wait_for(|ports| ports[0] == on).await.is_ok()
}

/// What QEMU calls the board's slot.
const SLOT: &str = "card";

/// QEMU's own hands: the slot, not the board.
struct Control {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Control {
    async fn connect(socket: &Path) -> Result<Self> {
        let there = async {
            loop {
                match UnixStream::connect(socket).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(POLL).await,
                }
            }
        };
        let stream = patiently("QEMU to take commands", there).await?;
        let (read, write) = stream.into_split();
        let mut control = Self { lines: BufReader::new(read).lines(), write };
        control.execute("qmp_capabilities", json!({})).await?;
        Ok(control)
    }

    /// Puts a card in, or takes it out.
    async fn insert(&mut self, card: Option<&Path>) -> Result<()> {
        match card {
            Some(card) => {
                let card = json!({"device": SLOT, "filename": card, "format": "raw"});
                self.execute("blockdev-change-medium", card).await
            }
            None => self.execute("eject", json!({"device": SLOT, "force": true})).await,
        }
    }

    async fn execute(&mut self, command: &str, arguments: Value) -> Result<()> {
        let request = json!({"execute": command, "arguments": arguments});
        let sent = self.write.write_all(format!("{request}\n").as_bytes()).await;
        sent.context("telling QEMU")?;
        // Between the greeting and events stands the answer.
        while let Some(line) = self.lines.next_line().await.context("listening to QEMU")? {
            let said: Value = serde_json::from_str(&line).context("what QEMU says")?;
            if said.get("return").is_some() {
                return Ok(());
            }
            ensure!(said.get("error").is_none(), "QEMU: {command}: {said}");
        }
        bail!("QEMU hung up on {command}")
    }
}
