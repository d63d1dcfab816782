//! The board's serial adapter: the terminal that the kernel makes of it.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;

use super::board::Board;
use crate::driver::{Call, Driver, Method};
use crate::serial::PySerial;
use crate::{ByteStream, DriverError, Result, blocking};

/// The serial adapter.
#[derive(Debug)]
pub(super) struct Console {
    board: Arc<Board>,
    /// `/dev`
    dev: PathBuf,
    baudrate: NonZeroU32,
    /// The terminal as it was called when it was looked for last.
    port: Mutex<Option<(PathBuf, Arc<PySerial>)>>,
    /// Without a port, for what all ports have in common.
    any: PySerial,
}

/// How long looking for the terminal may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

impl Console {
    pub(super) fn new(board: Arc<Board>, dev: PathBuf, baudrate: NonZeroU32) -> Result<Self> {
        let any = super::serial("loop://", baudrate, false)?;
        Ok(Self { board, dev, baudrate, port: Mutex::default(), any })
    }

    /// The terminal. It may have another name each time the board is plugged in.
    async fn port(&self) -> Result<Arc<PySerial>> {
        let mut port = self.port.lock().await;
        let (directory, dev) = (self.board.directory().await?, self.dev.clone());
        let look = move || terminal(&directory, &dev);
        let path = blocking::run("find the DUT Link's console", LOOK_LIMIT, look).await?;
        if let Some((_, serial)) = port.as_ref().filter(|(known, _)| *known == path) {
            return Ok(Arc::clone(serial));
        }
        if let Some((_, old)) = port.take() {
            old.close().await;
        }
        let serial = Arc::new(super::serial(&path.to_string_lossy(), self.baudrate, true)?);
        *port = Some((path, Arc::clone(&serial)));
        Ok(serial)
    }
}

#[async_trait]
impl Driver for Console {
    fn client(&self) -> &'static str {
        self.any.client()
    }

    fn category(&self) -> &'static str {
        self.any.category()
    }

    fn methods(&self) -> &'static [Method] {
        self.any.methods()
    }

    async fn open(&self) -> Result<()> {
        self.port().await?.open().await
    }

    async fn close(&self) {
        if let Some((_, serial)) = self.port.lock().await.take() {
            serial.close().await;
        }
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        self.port().await?.call(call).await
    }

    async fn connect(&self, method: &str) -> Result<ByteStream> {
        self.port().await?.connect(method).await
    }
}

/// The one terminal of the device with this directory. Blocks.
fn terminal(device: &Path, dev: &Path) -> Result<PathBuf> {
    let names = |directory: PathBuf| {
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name())
    };
    let interfaces = names(device.to_owned()).filter(|name| name.to_string_lossy().contains(':'));
    let terminals: Vec<_> =
        interfaces.flat_map(|interface| names(device.join(interface).join("tty"))).collect();
    match &*terminals {
        [terminal] => Ok(dev.join(terminal)),
        [] => Err(DriverError::NotFound(format!(
            "the DUT Link at {} has no console; if it stays so, the kernel lacks cdc_acm",
            device.display()
        ))),
        [_, ..] => Err(DriverError::Device(format!(
            "the DUT Link at {} has {} consoles, and one is expected",
            device.display(),
            terminals.len()
        ))),
    }
}
