//! Power switches: one file a device.
//!
//! Most are a [`Switch`](switch::Switch): they are told a position, asked whether they took it, and
//! left alone when a lease begins or ends, unless their setting `default` says `on` or `off`. A
//! device that can't tell its position says `read-back: none` in the help of its commands. The
//! settings of each are in `drivers/docs/power.md`.

pub mod energenie;
pub mod energenie_usb;
pub mod external;
pub mod http;
pub mod hub;
pub mod mock;
pub mod noyito;
pub mod shelly;
pub mod snmp;
pub mod switch;
pub mod tasmota;
pub mod usbrelay;
pub mod ykush;

use std::collections::BTreeMap;

use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::{Value, json};

use self::switch::{Position, ReadBack, State, no_measurement, no_status};
use crate::driver::{Call, Driver, Items, Method};
use crate::{DriverError, Result};

/// The client of most power switches.
const POWER_CLIENT: &str = "jumpstarter_driver_power.client.PowerClient";

/// Something that switches a DUT's power.
pub trait Power: fmt::Debug + Send + Sync + 'static {
    /// See [`Driver::client`].
    const CLIENT: &'static str = POWER_CLIENT;

    /// Switches on. Returns once the switch has switched.
    fn on(&self) -> impl Future<Output = Result<()>> + Send;

    /// Switches off. Returns once the switch has switched.
    fn off(&self) -> impl Future<Output = Result<()>> + Send;

    /// What a client hears once it is switched.
    fn reply(_: Position) -> Value {
        Value::Null
    }

    /// Whether the switch can tell where it is.
    fn read_back(&self) -> ReadBack {
        ReadBack::Device
    }

    /// Where the switch is.
    fn status(&self) -> impl Future<Output = Result<State>> + Send {
        async { Err(no_status()) }
    }

    /// Measures, until the stream is dropped or ends by itself.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        Err(no_measurement())
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
        P::CLIENT
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
                Method::unary("status"),
                Method::items("read"),
            ]
        }
    }

    fn methods_description(&self) -> BTreeMap<String, String> {
        match self.0.read_back() {
            ReadBack::Device | ReadBack::Answer => BTreeMap::new(),
            ReadBack::None => [
                ("on", "Power on, as far as can be told (read-back: none)"),
                ("off", "Power off, as far as can be told (read-back: none)"),
            ]
            .map(|(method, text)| (method.to_owned(), text.to_owned()))
            .into(),
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
            "on" => self.0.on().await.map(|()| P::reply(Position::On)),
            "off" => self.0.off().await.map(|()| P::reply(Position::Off)),
            "rescue" => self.0.rescue().await.map(|()| Value::Null),
            "status" => Ok(self.0.status().await?.to_string().into()),
            _ => Err(call.no_such_method()),
        }
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        call.args.none()?;
        match call.method {
            "read" => Ok(self.0.read()?.map(|reading| reading.map(|r| json!(r))).boxed()),
            _ => Err(call.no_such_method()),
        }
    }
}
