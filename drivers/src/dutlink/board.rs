//! The board's requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::usb::{Bus, Claim, Connection, Control, Device, Kind, Plugged, Wanted, patience};
use crate::{DriverError, Result, blocking};

/// A board that need not be there yet.
#[derive(Debug)]
pub(super) struct Board {
    bus: Arc<Bus>,
    device: Device,
    /// How long it may take for a request.
    limit: Duration,
}

/// What the board can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    PowerOff,
    PowerOn,
    Rescue,
    StorageOff,
    StorageToHost,
    StorageToDut,
}

impl Command {
    /// `bRequest` and `wValue`.
    const fn numbers(self) -> (u8, u16) {
        match self {
            Self::PowerOff => (1, 0),
            Self::PowerOn => (1, 1),
            Self::Rescue => (1, 4),
            Self::StorageOff => (2, 0),
            Self::StorageToHost => (2, 1),
            Self::StorageToDut => (2, 2),
        }
    }
}

/// Brings what can be read up to date, after all that the board was told before.
const REFRESH: u8 = 0;

/// Reads; with this value, what the power supply measures.
const READ: u8 = 4;
const MEASUREMENTS: u16 = 1;

/// The longest text that a board sends, in bytes. The firmware's is shorter.
const LONGEST: usize = 512;

/// Requests of the vendor's to an interface, and their answers.
const OUT: u8 = 0x41;
const IN: u8 = 0xC1;

const KIND: Kind = Kind {
    name: "DUT Link",
    is_like: |device| device.is_one_of(0x2b23, &[0x1012]),
    // The kernel lets requests of a vendor's pass without.
    claim: Claim::Nothing,
};

impl Board {
    pub(super) fn new(
        bus: Arc<Bus>,
        serial: Option<String>,
        path: Option<String>,
        limit: Duration,
    ) -> Self {
        let wanted = Wanted { kind: KIND, serial, path };
        let device = Device::new(Arc::clone(&bus), wanted, patience()).that_is_unmistakable();
        Self { bus, device, limit }
    }

    /// Tells the board something. Returns once it is done.
    pub(super) async fn tell(&self, command: Command) -> Result<()> {
        let (request, value) = command.numbers();
        self.run(move |board, index, limit| {
            board.control_out(Control { kind: OUT, request, value, index }, &[], limit)?;
            // The board takes a command and then does it. It takes the next when it is done.
            refresh(board, index, limit)
        })
        .await
    }

    /// What the power supply measures now, as text.
    pub(super) async fn measurements(&self) -> Result<String> {
        self.run(|board, index, limit| {
            refresh(board, index, limit)?;
            let mut answer = [0; LONGEST];
            let read = Control { kind: IN, request: READ, value: MEASUREMENTS, index };
            let length = board.control_in(read, &mut answer, limit)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
        .await
    }

    /// The board's directory in `/sys`.
    pub(super) async fn directory(&self) -> Result<PathBuf> {
        self.device.find(self.limit).await
    }

    /// The board's number on the bus, another one each time that it is plugged in; none if it is not.
    pub(super) async fn number(&self) -> Option<String> {
        let directory = self.directory().await.ok()?;
        let read = move || Ok(fs::read_to_string(directory.join("devnum")).ok());
        blocking::run("look for the DUT Link", self.limit, read).await.ok()?
    }

    /// Closes the board, unless it has other users.
    pub(super) fn release(&self) {
        self.device.release();
    }

    /// Does `work` with the board and the number of its interface for requests.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection, u16, Duration) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let (list, limit) = (self.bus.list().to_owned(), self.limit);
        // Two requests and what others have under way, who take turns.
        let all = 4 * limit;
        self.device
            .run_on(all, move |device, board| work(board, interface(&list, device)?, limit))
            .await
    }
}

fn refresh(board: &mut dyn Connection, index: u16, limit: Duration) -> Result<()> {
    let request = Control { kind: OUT, request: REFRESH, value: 0, index };
    board.control_out(request, &[], limit)
}

/// The number of the interface that takes requests, which is of the vendor's class. The others are
/// the serial adapter's. Blocks.
fn interface(list: &Path, device: &Plugged) -> Result<u16> {
    let attribute = |directory: &Path, name: &str| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        u16::from_str_radix(text.trim(), 16).ok()
    };
    let entries = fs::read_dir(list.join(&device.path)).into_iter().flatten().flatten();
    let number = entries.filter_map(|entry| {
        let directory = entry.path();
        let class = ["bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"];
        let class = class.map(|name| attribute(&directory, name));
        (class == [Some(0xFF), Some(1), Some(1)]).then(|| attribute(&directory, "bInterfaceNumber"))
    });
    number.flatten().next().ok_or_else(|| {
        DriverError::NotFound(format!(
            "{device} has no interface for requests (class ff/01/01) yet; it may be in its bootloader"
        ))
    })
}
