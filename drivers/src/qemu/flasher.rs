//! The flasher of an emulated board.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::config::Partition;
use super::machine::Machine;
use crate::driver::{Call, Driver, Items, Method};
use crate::storage::{Flasher, FlasherDriver};
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// Writes and reads partitions. What is flashed while the board is on is there when it is next
/// switched on.
#[derive(Debug)]
pub(super) struct QemuFlasher(FlasherDriver<Partitions>);

impl QemuFlasher {
    pub(super) fn new(machine: &Arc<Machine>) -> Self {
        Self(FlasherDriver(Partitions(Arc::clone(machine))))
    }
}

#[async_trait]
impl Driver for QemuFlasher {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_qemu.client.QemuFlasherClient"
    }

    fn category(&self) -> &'static str {
        self.0.category()
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::unary("flash"), Method::unary("dump"), Method::items("flash_oci")] }
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        self.0.call(call).await
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        match call.method {
            "flash_oci" => Err(DriverError::Unsupported(
                "images of a container registry can't be flashed here; flash a file or a URL"
                    .into(),
            )),
            _ => Err(call.no_such_method()),
        }
    }
}

#[derive(Debug)]
struct Partitions(Arc<Machine>);

impl Flasher for Partitions {
    async fn flash(&self, source: Source, partition: Option<&str>) -> Result<()> {
        self.0.store().flash(Partition::named(partition)?, source).await
    }

    async fn dump(&self, sink: &mut Sink, partition: Option<&str>) -> Result<()> {
        self.0.store().dump(Partition::named(partition)?, sink).await
    }
}
