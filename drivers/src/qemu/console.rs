//! The serial port of an emulated board.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::machine::Machine;
use crate::driver::{Call, Driver, Method};
use crate::{ByteStream, DriverError, Result};

/// What clients take for a serial port.
#[derive(Debug)]
pub(super) struct Serial(pub(super) Arc<Machine>);

#[async_trait]
impl Driver for Serial {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_pyserial.client.PySerialClient"
    }

    fn category(&self) -> &'static str {
        "serial"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::bytes("connect"), Method::unary("set_dtr"), Method::unary("set_rts")] }
    }

    /// There are no modem lines to set.
    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "set_dtr" | "set_rts" => {
                call.args.at_most(1)?;
                let _: bool = call.args.required(0, "value")?;
                tracing::info!("an emulated board has no modem lines; nothing is set");
                Ok(Value::Null)
            }
            _ => Err(call.no_such_method()),
        }
    }

    async fn connect(&self, method: &str) -> Result<ByteStream> {
        match method {
            "connect" => Ok(self.0.console().connect()),
            _ => Err(DriverError::NoSuchMethod(method.to_owned())),
        }
    }
}
