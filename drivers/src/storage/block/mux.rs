//! What moves a storage between the host and the DUT.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;

use super::super::lock;
use crate::driver::{Call, Driver, Resources, Use};
use crate::stream::{Sink, Source};
use crate::{Args, DriverError, Result};

/// Something that connects a storage to the host or to the DUT, and knows nothing of what is on it.
///
/// A mux with a protocol of its own implements this, and a
/// [`BlockStorage`](super::BlockStorage) on it has the rest.
pub trait Mux: fmt::Debug + Send + Sync + 'static {
    /// Connects the storage. Returns once it is; the host may take longer to see it.
    fn switch(&self, side: Side) -> impl Future<Output = Result<()>> + Send;

    /// Where the storage is now that it is on the host, for a mux with a reader of its own. One that
    /// has none is told by its configuration.
    ///
    /// # Errors
    ///
    /// [`DriverError::NotFound`] if it may still appear.
    fn node(&self) -> impl Future<Output = Result<Node>> + Send {
        async { Err(DriverError::Unsupported("the mux has no reader of its own".into())) }
    }

    /// See [`Driver::uses`].
    fn uses(&self) -> &'static [Use] {
        &[]
    }

    /// See [`Driver::adopt`].
    fn adopt(&self, _name: &'static str, _driver: Arc<dyn Driver>) {}
}

/// Where a storage is while it is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The block device.
    pub path: PathBuf,
    /// The directory in `/sys` of what the device has to be plugged in with, without links. By the
    /// time that a device is opened, its name may be another one's.
    pub below: Option<PathBuf>,
}

/// Where a storage is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The computer that this runs on.
    Host,
    /// The device under test.
    Dut,
    /// Neither.
    Off,
}

impl Side {
    /// The method of a mux that connects to it.
    const fn method(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Dut => "dut",
            Self::Off => "off",
        }
    }
}

/// How errors speak of it.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "connect the storage to the host",
            Self::Dut => "connect the storage to the DUT",
            Self::Off => "disconnect the storage",
        })
    }
}

/// The driver below, under the name `mux`, as a mux. Without one, the storage stays where it is.
#[derive(Debug, Default)]
pub struct ChildMux {
    driver: Mutex<Option<Arc<dyn Driver>>>,
}

impl Mux for ChildMux {
    async fn switch(&self, side: Side) -> Result<()> {
        let Some(driver) = lock(&self.driver).clone() else { return Ok(()) };
        let method = side.method();
        if !driver.methods().iter().any(|known| known.name == method) {
            return Err(DriverError::Unsupported(format!("the mux can't {side}")));
        }
        driver.call(Call { method, args: Args::default(), resources: &Nothing }).await.map(drop)
    }

    fn uses(&self) -> &'static [Use] {
        &[Use { name: "mux", methods: &["host", "dut"] }]
    }

    fn adopt(&self, _: &'static str, driver: Arc<dyn Driver>) {
        *lock(&self.driver) = Some(driver);
    }
}

/// A mux needs nothing of a client.
struct Nothing;

#[async_trait]
impl Resources for Nothing {
    async fn source(&self, handle: &Value) -> Result<Source> {
        Err(DriverError::NotFound(format!("no resource has the handle {handle}")))
    }

    async fn sink(&self, handle: &Value) -> Result<Sink> {
        Err(DriverError::NotFound(format!("no resource has the handle {handle}")))
    }
}
