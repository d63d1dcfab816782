//! Storage: flashers, SD muxes with the storage behind them, and files.
//!
//! A new flasher implements [`Flasher`], a new mux with a block device behind it
//! [`Mux`](block::Mux), and any other [`StorageMux`]. They move their data with the copy in `copy.rs`
//! or onto a device with the writers in `block/`: there asynchronous streams meet devices that block.

pub mod block;
mod chunk;
pub(crate) mod copy;
mod cursor;
pub(crate) mod image;
pub mod mock;
pub mod opendal;
mod reader;
pub mod sdwire;
pub mod usb_sd_mux;

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::driver::{Call, Driver, Method};
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// Something that writes images to a DUT's storage, and reads them back.
pub trait Flasher: fmt::Debug + Send + Sync + 'static {
    /// Writes an image to the partition, or to where the device keeps its image if none is named.
    /// Returns once the image is where it belongs.
    fn flash(
        &self,
        source: Source,
        partition: Option<&str>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads a partition, and writes it to `sink`, which the caller then shuts down.
    fn dump(
        &self,
        sink: &mut Sink,
        partition: Option<&str>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// See [`Driver::open`].
    fn open(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// See [`Driver::close`].
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A [`Flasher`] as a [`Driver`]: spells the wire names once for all of them.
#[derive(Debug)]
pub struct FlasherDriver<F>(pub F);

#[async_trait]
impl<F: Flasher> Driver for FlasherDriver<F> {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_opendal.client.FlasherClient"
    }

    fn category(&self) -> &'static str {
        "storage"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::unary("flash"), Method::unary("dump")] }
    }

    async fn open(&self) -> Result<()> {
        self.0.open().await
    }

    async fn close(&self) {
        self.0.close().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        call.args.at_most(2)?;
        match call.method {
            "flash" => {
                let target = call.args.optional::<String>(1, "target")?;
                self.0.flash(call.source(0).await?, target.as_deref()).await?;
            }
            "dump" => {
                let partition = call.args.optional::<String>(1, "partition")?;
                let mut sink = call.sink(0).await?;
                self.0.dump(&mut sink, partition.as_deref()).await?;
                end(sink).await?;
            }
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }
}

/// Storage that is connected either to the host or to the DUT.
pub trait StorageMux: fmt::Debug + Send + Sync + 'static {
    /// Connects the storage to the host. Returns once it is.
    fn host(&self) -> impl Future<Output = Result<()>> + Send;

    /// Connects the storage to the DUT. Returns once it is.
    fn dut(&self) -> impl Future<Output = Result<()>> + Send;

    /// Disconnects the storage from both, or as good as the mux can.
    fn off(&self) -> impl Future<Output = Result<()>> + Send;

    /// Writes an image to the storage, from its start. Returns once the image is on it.
    fn write(&self, source: Source) -> impl Future<Output = Result<()>> + Send;

    /// Reads the whole storage, and writes it to `sink`, which the caller then shuts down.
    fn read(&self, sink: &mut Sink) -> impl Future<Output = Result<()>> + Send;

    /// See [`Driver::open`].
    fn open(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// See [`Driver::close`].
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A [`StorageMux`] as a [`Driver`]: spells the wire names once for all of them.
#[derive(Debug)]
pub struct StorageMuxDriver<M> {
    /// The mux.
    pub mux: M,
    /// Which of the two Python clients it reports.
    pub client: MuxClient,
}

/// The Python clients for muxes. They call the same methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MuxClient {
    /// Switches, and writes files to the storage.
    Mux,
    /// The same, and has the verbs of a flasher: `flash` switches to the host, writes, and switches
    /// to the DUT.
    Flasher,
}

impl MuxClient {
    const fn class(self) -> &'static str {
        match self {
            Self::Mux => "jumpstarter_driver_opendal.client.StorageMuxClient",
            Self::Flasher => "jumpstarter_driver_opendal.client.StorageMuxFlasherClient",
        }
    }
}

/// What both of them call.
const MUX_METHODS: &[Method] = &[
    Method::unary("host"),
    Method::unary("dut"),
    Method::unary("off"),
    Method::unary("write"),
    Method::unary("read"),
];

#[async_trait]
impl<M: StorageMux> Driver for StorageMuxDriver<M> {
    fn client(&self) -> &'static str {
        self.client.class()
    }

    fn category(&self) -> &'static str {
        "storage"
    }

    fn methods(&self) -> &'static [Method] {
        MUX_METHODS
    }

    async fn open(&self) -> Result<()> {
        self.mux.open().await
    }

    async fn close(&self) {
        self.mux.close().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        call.args.at_most(if matches!(call.method, "write" | "read") { 1 } else { 0 })?;
        match call.method {
            "host" => self.mux.host().await?,
            "dut" => self.mux.dut().await?,
            "off" => self.mux.off().await?,
            "write" => self.mux.write(call.source(0).await?).await?,
            "read" => {
                let mut sink = call.sink(0).await?;
                self.mux.read(&mut sink).await?;
                end(sink).await?;
            }
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }
}

/// Ends a sink properly: the client has everything.
async fn end(mut sink: Sink) -> Result<()> {
    sink.shutdown().await.map_err(|error| DriverError::io("send the data", error))
}

/// Locks a state that changes in single steps, so that it is whole even if a thread has panicked.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
