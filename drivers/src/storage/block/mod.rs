//! Block devices behind a mux, and the way of an image onto them.
//!
//! ```text
//! client ──► decompressed ──► chunks ──► writers ──► device ──► synced ──► read back
//!  image       by magic        plan      several     past the    once      digests
//!                              bmap      at a time   page cache            compared
//! ```
//!
//! A [`BlockStorage`] is a [`Mux`] with the device that it brings to the host. Writing is a visit of
//! the storage to the host: it is there for as long as it takes, and then it is with the DUT again,
//! also if something fails or nobody waits any more. What is reported as written was stored by the
//! device, and read back from it. The image's start comes last, and until then a marker is in its place.

mod bmap;
mod device;
mod flash;
mod guard;
mod lent_map;
mod marker;
mod mux;
mod plan;
mod progress;
#[cfg(test)]
mod tests;
mod verify;
mod visit;
mod writers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::device::Expected;
pub(super) use self::device::has_medium;
pub use self::flash::Settings;
use self::guard::Kernel;
pub use self::mux::{ChildMux, Mux, Node, Side};
use self::visit::{Purpose, Storage};
use super::MuxClient;
use crate::driver::{Call, Driver, Method, Use};
use crate::number::seconds;
use crate::registry::Build;
use crate::{DriverError, Result};

/// `hilt.storage.BlockDevice`: a block device, or a file in its place, and the driver below it that
/// is its `mux`, if there is one.
pub type BlockDevice = BlockStorage<ChildMux>;

/// A block device behind a mux.
#[derive(Debug)]
pub struct BlockStorage<M> {
    storage: Arc<Storage<M>>,
    /// What is being done with the storage; goes on when its call is given up.
    tasks: TaskTracker,
}

/// The `config:` block of a block device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the device is when it is on the host. A link that stays the same, such as those in
    /// `/dev/disk/by-path`, is better than `/dev/sda`.
    device: PathBuf,
    /// The device's size in bytes; any other is not the device.
    size: Option<u64>,
    /// The serial number of the device or of its reader; any other is not the device.
    serial: Option<String>,
    /// How long the device may take to appear, in seconds.
    #[serde(default = "default_timeout", deserialize_with = "seconds")]
    timeout: Duration,
    /// Whether what was written is read back.
    #[serde(default = "yes")]
    verify: bool,
    /// Whether zeros are passed over. Only for devices that are blank, or where old data in place of
    /// zeros does no harm.
    #[serde(default)]
    skip_zeros: bool,
    /// Whether an image that begins like compressed data is decompressed.
    #[serde(default = "yes")]
    decompress: bool,
}

/// As long as the reference's drivers wait.
pub(crate) const fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

pub(crate) const fn yes() -> bool {
    true
}

/// How long a device may take to store what its own cache holds. The reference's limit.
pub(crate) const fn default_sync_limit() -> Duration {
    Duration::from_secs(900)
}

impl Build for BlockDevice {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self::new(ChildMux::default(), config.into()))
    }
}

/// How a storage is found when it is on the host, and how it is used there.
#[derive(Debug)]
pub struct Setup {
    /// Where it is; none if the mux knows.
    pub device: Option<PathBuf>,
    /// Its size in bytes; any other is not the device.
    pub size: Option<u64>,
    /// Its serial number, or that of its reader; any other is not the device.
    pub serial: Option<String>,
    /// How long it may take to appear.
    pub patience: Duration,
    /// How images are written to it.
    pub settings: Settings,
}

impl From<Config> for Setup {
    fn from(config: Config) -> Self {
        let Config { device, size, serial, timeout, verify, skip_zeros, decompress } = config;
        let (sync_limit, leeway) = (default_sync_limit(), Duration::ZERO);
        let settings = Settings { verify, skip_zeros, decompress, sync_limit, leeway };
        Self { device: Some(device), size, serial, patience: timeout, settings }
    }
}

impl<M: Mux> BlockStorage<M> {
    /// The storage that `mux` connects to the host or to the DUT.
    pub fn new(mux: M, setup: Setup) -> Self {
        let Setup { device, size, serial, patience, settings } = setup;
        let expected = Expected { size, serial, kernel: Kernel::default() };
        let turn = tokio::sync::Mutex::default();
        let storage = Storage { mux, device, expected, patience, settings, turn };
        Self { storage: Arc::new(storage), tasks: TaskTracker::new() }
    }

    /// Does `work` even if nobody waits for it any more: a mux never stays between two places.
    async fn see_through(
        &self,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        let task = self.tasks.spawn(work.in_current_span());
        let panicked = |_| Err(DriverError::Device("the driver panicked".into()));
        task.await.unwrap_or_else(panicked)
    }

    async fn switch(&self, side: Side) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        self.see_through(async move { storage.switch(side).await }).await
    }

    async fn visit(&self, purpose: Purpose) -> Result<()> {
        let storage = Arc::clone(&self.storage);
        let cancelled = CancellationToken::new();
        let _cancel = cancelled.clone().drop_guard();
        self.see_through(async move { storage.visit(purpose, cancelled).await }).await
    }
}

#[async_trait]
impl<M: Mux> Driver for BlockStorage<M> {
    fn client(&self) -> &'static str {
        MuxClient::Flasher.class()
    }

    fn category(&self) -> &'static str {
        "storage"
    }

    fn methods(&self) -> &'static [Method] {
        super::MUX_METHODS
    }

    /// `j` looks for a block map only where a driver says that it takes one.
    fn methods_description(&self) -> BTreeMap<String, String> {
        let bmap = "The block map of the image, which says what to write and checks it";
        [("write --bmap".to_owned(), bmap.to_owned())].into()
    }

    fn uses(&self) -> &'static [Use] {
        self.storage.mux.uses()
    }

    fn adopt(&self, name: &'static str, driver: Arc<dyn Driver>) {
        self.storage.mux.adopt(name, driver);
    }

    async fn open(&self) -> Result<()> {
        self.storage.check().await;
        Ok(())
    }

    async fn close(&self) {
        // The calls are gone; what they have left behind is about to end.
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// `write` takes a block map as a second resource, which the reference doesn't.
    async fn call(&self, call: Call<'_>) -> Result<Value> {
        let most = match call.method {
            "write" => 2,
            "read" => 1,
            _ => 0,
        };
        call.args.at_most(most)?;
        match call.method {
            "host" => self.switch(Side::Host).await?,
            "dut" => self.switch(Side::Dut).await?,
            "off" => self.switch(Side::Off).await?,
            "write" => {
                let image = call.source(0).await?;
                let bmap = lent_map::read(&call).await?;
                self.visit(Purpose::Write { image, bmap }).await?;
            }
            "read" => self.visit(Purpose::Read { sink: call.sink(0).await? }).await?,
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }
}
