//! Tasmota plugs and relays, by their HTTP interface.
//!
//! Source: Tasmota's documentation, "Commands with web requests", "Power" and "Status".

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Address, Http, get};
use crate::power::Reading;
use crate::power::switch::{AtOpen, Position, State, Switch, no_measurement};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `hilt.power.Tasmota`.
#[derive(Debug)]
pub struct Tasmota {
    device: Device,
    default: AtOpen,
}

#[derive(Debug, Clone)]
struct Device {
    http: Http,
    address: Address,
    relay: u8,
    login: Option<(String, Secret)>,
}

/// The `config:` block of a Tasmota device that is spoken to by HTTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name or an address, maybe with a port.
    host: String,
    /// Which of the device's relays, from 1.
    #[serde(default = "first", deserialize_with = "number::whole")]
    relay: u8,
    /// The user name of the web interface, if the device asks for a password.
    #[serde(default = "admin")]
    user: String,
    /// The password of the web interface.
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    default: AtOpen,
}

const fn first() -> u8 {
    1
}

/// The only user there is.
fn admin() -> String {
    "admin".into()
}

/// How long a device may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

impl Build for Tasmota {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let Config { host, relay, user, password, default } = config;
        let device = Device {
            http: Http::new(LIMIT),
            address: Address::of_host(&host)?,
            relay,
            login: password.map(|password| (user, password)),
        };
        Ok(Self { device, default })
    }
}

impl Switch for Tasmota {
    async fn set(&self, position: Position) -> Result<()> {
        self.device.power(&format!(" {position}")).await.map(drop)
    }

    async fn state(&self) -> Result<State> {
        self.device.power("").await
    }

    fn at_open(&self) -> AtOpen {
        self.default
    }

    /// One measurement, of a device that has a meter.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let device = self.device.clone();
        let reading = async move {
            let status = device.command("Status 8").await?;
            let energy = &status["StatusSNS"]["ENERGY"];
            match (energy["Voltage"].as_f64(), device.current(&energy["Current"])) {
                (Some(voltage), Some(current)) => Ok(Reading { voltage, current }),
                _ => Err(no_measurement()),
            }
        };
        Ok(stream::once(reading).boxed())
    }
}

impl Device {
    /// Sends the relay's command, which answers with where it is then.
    async fn power(&self, argument: &str) -> Result<State> {
        let name = format!("Power{}", self.relay);
        let answer = self.command(&format!("{name}{argument}")).await?;
        // A device with one relay leaves its number out.
        let level = answer.get(name.to_uppercase()).or_else(|| answer.get("POWER"));
        match level.and_then(Value::as_str) {
            Some("ON") => Ok(State::On),
            Some("OFF") => Ok(State::Off),
            _ => Err(DriverError::Device(format!("{}: {name}: {answer}", self.address))),
        }
    }

    /// In amperes. A device that measures each relay gives a list.
    fn current(&self, value: &Value) -> Option<f64> {
        let relay = usize::from(self.relay).checked_sub(1)?;
        value.get(relay).unwrap_or(value).as_f64()
    }

    async fn command(&self, command: &str) -> Result<Value> {
        let mut query = Vec::new();
        if let Some((user, password)) = &self.login {
            query.extend([("user", user.as_str()), ("password", password.reveal())]);
        }
        query.push(("cmnd", command));
        let answer = self.http.send(get(self.address.at("/cm", &query))).await?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| {
            DriverError::Device(format!("{}: it did not answer in JSON: {error}", self.address))
        })?;
        match answer.get("WARNING").and_then(Value::as_str) {
            None => Ok(answer),
            Some(warning) => Err(DriverError::PermissionDenied(format!(
                "{}: {warning}; check the password in its configuration",
                self.address
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::TryStreamExt as _;
    use serde_json::json;

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::parse;
    use crate::testing::http::Server;

    /// A device with this many relays, which understands what its manual says.
    async fn device(relays: usize) -> (Server, Arc<Mutex<Vec<bool>>>) {
        let shared = Arc::new(Mutex::new(vec![false; relays]));
        let state = Arc::clone(&shared);
        let server = Server::start(move |request| {
            let command = request.target.strip_prefix("/cm?user=admin&password=p%26w&cmnd=");
            let Some(command) = command else {
                let text = "Need user=<username>&password=<password>";
                return (200, json!({"WARNING": text}).to_string());
            };
            let mut state = state.lock().unwrap();
            let (name, argument) = command.split_once('+').unwrap_or((command, ""));
            if command == "Status+8" {
                let energy = json!({"Voltage": 231, "Current": [0.25, 0.5]});
                return (200, json!({"StatusSNS": {"ENERGY": energy}}).to_string());
            }
            let relay = name.strip_prefix("Power").and_then(|text| text.parse::<usize>().ok());
            let Some(relay) = relay.filter(|relay| (1..=state.len()).contains(relay)) else {
                return (200, json!({"Command": "Unknown"}).to_string());
            };
            match argument {
                "" => {}
                argument => state[relay - 1] = argument == "on",
            }
            let number = if state.len() == 1 { String::new() } else { relay.to_string() };
            let level = if state[relay - 1] { "ON" } else { "OFF" };
            (200, json!({(format!("POWER{number}")): level}).to_string())
        })
        .await;
        (server, shared)
    }

    fn power(server: &Server, relay: u8, password: &str) -> Switched<Tasmota> {
        let config = json!({"host": server.host(), "relay": relay, "password": password});
        Switched::new(Tasmota::build(parse(config).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn one_of_several_relays() {
        let (server, state) = device(2).await;
        let power = power(&server, 2, "p&w");
        power.on().await.unwrap();
        assert_eq!(*state.lock().unwrap(), [false, true]);
        assert_eq!(power.status().await.unwrap(), State::On);
        let readings: Vec<_> = power.read().unwrap().try_collect().await.unwrap();
        assert_eq!(readings, [Reading { voltage: 231.0, current: 0.5 }]);
        power.off().await.unwrap();
        assert_eq!(power.status().await.unwrap(), State::Off);
    }

    #[tokio::test]
    async fn the_only_relay_has_no_number() {
        let (server, state) = device(1).await;
        power(&server, 1, "p&w").on().await.unwrap();
        assert_eq!(*state.lock().unwrap(), [true]);
        let error = power(&server, 2, "p&w").on().await.unwrap_err();
        assert!(error.to_string().ends_with("/: Power2: {\"Command\":\"Unknown\"}"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_password_is_an_error() {
        let (server, _) = device(1).await;
        let error = power(&server, 1, "x").on().await.unwrap_err();
        assert!(matches!(error, DriverError::PermissionDenied(_)), "{error}");
    }
}
