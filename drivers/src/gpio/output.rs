//! A line that is driven.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::chip::{Bias, Drive, Kernel, Level};
use super::config::{self, Device, Line};
use super::held::Held;
use super::request::Wanted;
use crate::Result;
use crate::driver::{Call, Driver, Method};
use crate::power::switch::AtOpen;
use crate::registry::Build;

/// `jumpstarter_driver_gpiod.driver.DigitalOutput`.
#[derive(Debug)]
pub struct DigitalOutput {
    line: Held<Kernel>,
}

/// The `config:` block of an output.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    device: Option<Device>,
    /// Its number, or its name.
    line: Line,
    #[serde(default, deserialize_with = "config::drive")]
    drive: Option<Drive>,
    #[serde(default)]
    active_low: bool,
    #[serde(default, deserialize_with = "config::bias")]
    bias: Option<Bias>,
    /// The level that the line takes whenever the driver is opened. Where the reference's default is
    /// inactive, here a line keeps its level unless it is told another.
    #[serde(default, deserialize_with = "config::initial_value")]
    initial_value: AtOpen,
}

impl Build for DigitalOutput {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let Config { device, line, active_low, bias, .. } = config;
        let wanted = Wanted { device, line, active_low, bias: bias.unwrap_or_default() };
        let drive = config.drive.unwrap_or_default();
        Ok(Self { line: Held::new(Kernel, wanted, drive, config.initial_value) })
    }
}

#[async_trait]
impl Driver for DigitalOutput {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_gpiod.client.DigitalOutputClient"
    }

    fn category(&self) -> &'static str {
        "gpio"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::unary("on"), Method::unary("off"), Method::unary("read_pin")] }
    }

    async fn open(&self) -> Result<()> {
        self.line.open().await
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        call.args.none()?;
        let level = match call.method {
            "on" => Level::Active,
            "off" => Level::Inactive,
            "read_pin" => return self.line.level().await.map(pin_state),
            _ => return Err(call.no_such_method()),
        };
        self.line.set(level).await?;
        tracing::info!("GPIO line {} is {level}", self.line.wanted.line);
        Ok(Value::Null)
    }
}

/// A level as clients know it.
pub(super) fn pin_state(level: Level) -> Value {
    match level {
        Level::Active => 1.into(),
        Level::Inactive => 0.into(),
    }
}
