//! Tasmota plugs and relays, through an MQTT broker.
//!
//! What is published to the command topic is done, and the new position appears in the status
//! topic. An empty command asks for the position. Source: Tasmota's documentation, "MQTT".

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::broker::{Broker, Transport};
use crate::power::switch::{AtOpen, Position, ReadBack, State, Switch};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `jumpstarter_driver_tasmota.driver.TasmotaPower`.
#[derive(Debug)]
pub struct TasmotaPower {
    broker: Broker,
    topics: Topics,
    limit: Duration,
    default: AtOpen,
}

#[derive(Debug)]
struct Topics {
    command: String,
    status: String,
}

/// The `config:` block of a Tasmota device that is spoken to by MQTT.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the broker knows this client by; none is one that nobody else has.
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    transport: Transport,
    /// How long a call may take, in seconds.
    #[serde(default)]
    timeout: Option<f64>,
    /// The broker's name or address, or the path of its Unix socket.
    host: String,
    /// The broker's port.
    #[serde(default = "usual_port", deserialize_with = "number::whole")]
    port: u16,
    /// Whether the connection is to be encrypted.
    #[serde(default = "yes")]
    tls: bool,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    /// Such as `cmnd/plug/POWER`.
    cmnd_topic: String,
    /// Such as `stat/plug/POWER`.
    stat_topic: String,
    #[serde(default)]
    default: AtOpen,
}

const fn usual_port() -> u16 {
    1883
}

const fn yes() -> bool {
    true
}

/// How long a call may take if nothing else is said. The reference waits for ever.
const USUAL_LIMIT: Duration = Duration::from_secs(10);

impl Build for TasmotaPower {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let limit = match config.timeout {
            None => USUAL_LIMIT,
            Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| {
                DriverError::InvalidArgument(format!("timeout: {seconds} is no number of seconds"))
            })?,
        };
        let broker = Broker {
            transport: config.transport,
            host: config.host,
            port: config.port,
            tls: config.tls,
            client_id: config.client_id,
            username: config.username,
            password: config.password,
        };
        let topics = Topics { command: config.cmnd_topic, status: config.stat_topic };
        Ok(Self { broker, topics, limit, default: config.default })
    }
}

impl Switch for TasmotaPower {
    /// As in the reference, it is done when the position appears in the status topic.
    async fn set(&self, position: Position) -> Result<()> {
        let (command, wanted) = match position {
            Position::On => ("ON", State::On),
            Position::Off => ("OFF", State::Off),
        };
        self.exchange(command, |state| state == wanted).await.map(drop)
    }

    fn read_back(&self) -> ReadBack {
        ReadBack::Answer
    }

    async fn state(&self) -> Result<State> {
        self.exchange("", |_| true).await
    }

    fn at_open(&self) -> AtOpen {
        self.default
    }
}

impl TasmotaPower {
    /// Publishes a command, and waits for a position that is `enough`.
    async fn exchange(&self, command: &str, enough: impl Fn(State) -> bool) -> Result<State> {
        let Topics { command: command_topic, status: status_topic } = &self.topics;
        let exchange = async {
            let mut session = self.broker.connect().await?;
            session.subscribe(status_topic).await?;
            session.publish(command_topic, command).await?;
            loop {
                let text = session.message(status_topic).await?;
                let state = match text.as_str() {
                    "ON" => State::On,
                    "OFF" => State::Off,
                    other => {
                        tracing::debug!("{status_topic}: '{other}' is no position");
                        continue;
                    }
                };
                if enough(state) {
                    session.end().await;
                    return Ok(state);
                }
            }
        };
        timeout(self.limit, exchange).await.unwrap_or_else(|_| {
            let limit = self.limit;
            Err(DriverError::Timeout(format!(
                "{}: '{command}' was not confirmed in {status_topic} within {limit:?}; is the \
                 device that listens to {command_topic} online?",
                self.broker
            )))
        })
    }
}

#[cfg(test)]
mod tests;
