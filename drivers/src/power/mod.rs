//! Power switches: one file a device.

pub mod mock;

use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::{Value, json};

use crate::driver::{Call, Driver, Items, Method};
use crate::{DriverError, Result};

/// Something that switches a DUT's power.
pub trait Power: fmt::Debug + Send + Sync + 'static {
    /// Switches on. Returns once the switch has switched.
    fn on(&self) -> impl Future<Output = Result<()>> + Send;

    /// Switches off. Returns once the switch has switched.
    fn off(&self) -> impl Future<Output = Result<()>> + Send;

    /// Measures, until the stream is dropped or ends by itself.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        Err(DriverError::Unsupported("this power switch does not measure".into()))
    }

    /// Powers the DUT into its rescue mode.
    fn rescue(&self) -> impl Future<Output = Result<()>> + Send {
        async { Err(DriverError::Unsupported("this power switch has no rescue mode".into())) }
    }

    /// See [`Driver::open`].
    fn open(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// See [`Driver::close`].
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reading {
    /// In volts.
    pub voltage: f64,
    /// In amperes.
    pub current: f64,
}

/// A [`Power`] as a [`Driver`]: spells the wire names once for all of them.
#[derive(Debug)]
pub struct PowerDriver<P>(pub P);

#[async_trait]
impl<P: Power> Driver for PowerDriver<P> {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_power.client.PowerClient"
    }

    fn category(&self) -> &'static str {
        "power"
    }

    fn methods(&self) -> &'static [Method] {
        const {
            &[
                Method::unary("on"),
                Method::unary("off"),
                Method::unary("rescue"),
                Method::items("read"),
            ]
        }
    }

    async fn open(&self) -> Result<()> {
        self.0.open().await
    }

    async fn close(&self) {
        self.0.close().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        call.args.none()?;
        match call.method {
            "on" => self.0.on().await?,
            "off" => self.0.off().await?,
            "rescue" => self.0.rescue().await?,
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        call.args.none()?;
        match call.method {
            "read" => Ok(self.0.read()?.map(|reading| reading.map(|r| json!(r))).boxed()),
            _ => Err(call.no_such_method()),
        }
    }
}
