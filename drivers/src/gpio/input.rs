//! A line that is read, and whose edges are waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use self::watched::Watched;
use super::chip::{Bias, Drive, Edge, Kernel, Level};
use super::config::{self, Device, Line};
use super::held::LIMIT;
use super::output::pin_state;
use super::request::Wanted;
use crate::driver::{Call, Driver, Method};
use crate::registry::Build;
use crate::{DriverError, Result, blocking};

mod edges;
mod watched;

/// `jumpstarter_driver_gpiod.driver.DigitalInput`.
#[derive(Debug)]
pub struct DigitalInput {
    wanted: Wanted,
    /// None while the driver is closed.
    line: Mutex<Option<Arc<Watched<Kernel>>>>,
}

/// The `config:` block of an input.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    device: Option<Device>,
    /// Its number, or its name.
    line: Line,
    /// Accepted for the sake of existing files; only an output drives its line.
    #[serde(default, deserialize_with = "config::drive")]
    drive: Option<Drive>,
    #[serde(default)]
    active_low: bool,
    #[serde(default, deserialize_with = "config::bias")]
    bias: Option<Bias>,
}

impl Build for DigitalInput {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        match config.drive {
            None | Some(Drive::PushPull) => {}
            Some(Drive::OpenDrain | Drive::OpenSource) => {
                return Err(DriverError::InvalidArgument(
                    "drive: an input does not drive its line; leave it out".into(),
                ));
            }
        }
        let Config { device, line, active_low, bias, .. } = config;
        let wanted = Wanted { device, line, active_low, bias: bias.unwrap_or_default() };
        Ok(Self { wanted, line: Mutex::default() })
    }
}

#[async_trait]
impl Driver for DigitalInput {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_gpiod.client.DigitalInputClient"
    }

    fn category(&self) -> &'static str {
        "gpio"
    }

    fn methods(&self) -> &'static [Method] {
        const {
            &[
                Method::unary("read_pin"),
                Method::unary("wait_for_active"),
                Method::unary("wait_for_inactive"),
                Method::unary("wait_for_edge"),
            ]
        }
    }

    async fn open(&self) -> Result<()> {
        // Let go of first: a line has one holder, even if that was the same driver.
        self.close().await;
        let wanted = self.wanted.clone();
        let what = format!("take GPIO line {}", wanted.line);
        let take = move || wanted.input(&Kernel);
        let line = blocking::run(&what, LIMIT, take).await?;
        let watched = Watched::new(self.wanted.clone(), line)?;
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(watched));
        Ok(())
    }

    async fn close(&self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).take();
        blocking::discard(line);
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "read_pin" => {
                call.args.none()?;
                return self.line()?.level().await.map(pin_state);
            }
            "wait_for_active" => {
                call.args.at_most(1)?;
                self.within(&call, 0, async |line| line.wait_for_level(Level::Active).await)
                    .await?;
            }
            "wait_for_inactive" => {
                call.args.at_most(1)?;
                self.within(&call, 0, async |line| line.wait_for_level(Level::Inactive).await)
                    .await?;
            }
            "wait_for_edge" => {
                call.args.at_most(2)?;
                let edge = edge(&call.args.required::<String>(0, "edge_type")?)?;
                self.within(&call, 1, async |line| line.wait_for_edge(edge).await).await?;
            }
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }
}

impl DigitalInput {
    fn line(&self) -> Result<Arc<Watched<Kernel>>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let closed =
            || DriverError::Disconnected(format!("GPIO line {} is not held", self.wanted.line));
        line.ok_or_else(closed)
    }

    /// Waits for as long as the call's argument `index` says, in seconds: none is for ever, which
    /// is until the client has gone.
    async fn within(
        &self,
        call: &Call<'_>,
        index: usize,
        wait: impl AsyncFnOnce(&Watched<Kernel>) -> Result<()>,
    ) -> Result<()> {
        let seconds = call.args.optional::<f64>(index, "timeout")?;
        let line = self.line()?;
        match seconds.map(Duration::try_from_secs_f64) {
            None => wait(&line).await,
            Some(Ok(limit)) => timeout(limit, wait(&line)).await.unwrap_or_else(|_| {
                Err(DriverError::Timeout(format!(
                    "Timed out waiting for line {} edge event",
                    self.wanted.line
                )))
            }),
            Some(Err(error)) => {
                Err(DriverError::InvalidArgument(format!("argument 'timeout': {error}")))
            }
        }
    }
}

fn edge(name: &str) -> Result<Edge> {
    match name {
        "rising" => Ok(Edge::Rising),
        "falling" => Ok(Edge::Falling),
        other => Err(DriverError::InvalidArgument(format!(
            "Invalid edge type: {other}, must be one of: rising, falling"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::parse;
    use crate::testing::Lent;

    fn input(config: Value) -> Result<DigitalInput> {
        DigitalInput::build(parse(config).unwrap())
    }

    #[test]
    fn an_input_drives_nothing() {
        assert!(input(json!({"line": 1, "drive": "push_pull"})).is_ok());
        let error = input(json!({"line": 1, "drive": "open_drain"})).unwrap_err();
        assert_eq!(error.to_string(), "drive: an input does not drive its line; leave it out");
    }

    #[tokio::test]
    async fn a_closed_input_has_no_level() {
        let (input, lent) = (input(json!({"line": 1})).unwrap(), Lent::default());
        let error = lent.call(&input, "read_pin", json!([])).await.unwrap_err();
        assert_eq!(error.to_string(), "GPIO line 1 is not held");
        let error = lent.call(&input, "wait_for_edge", json!(["up"])).await.unwrap_err();
        assert_eq!(error.to_string(), "Invalid edge type: up, must be one of: rising, falling");
    }
}
