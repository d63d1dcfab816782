//! A power switch with a web interface, whatever it looks like: the configuration has the requests.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::Method;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Reading;
use super::switch::{AtOpen, Position, ReadBack, State, Switch, no_status};
use crate::http::{Address, Body, Http, Login, Request, Scheme};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `jumpstarter_driver_http_power.driver.HttpPower`.
#[derive(Debug)]
pub struct HttpPower {
    http: Http,
    config: Config,
}

/// The `config:` block of a web interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the log calls the device.
    #[serde(default = "device")]
    name: String,
    /// Switches on.
    power_on: Endpoint,
    /// Switches off.
    power_off: Endpoint,
    /// Measures.
    #[serde(default)]
    power_read: Option<Endpoint>,
    /// Tells whether it is on.
    #[serde(default)]
    power_status: Option<StatusEndpoint>,
    /// The user, if the device asks for one.
    #[serde(default)]
    auth: Option<Auth>,
    /// How long a request may take.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    timeout: Duration,
    #[serde(default)]
    default: AtOpen,
}

/// A request. The paths are for measurements: dotted, an element of a list by its number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    url: Address,
    #[serde(default, deserialize_with = "method")]
    method: Method,
    #[serde(default)]
    data: Option<Secret>,
    #[serde(default)]
    voltage_path: Option<String>,
    #[serde(default)]
    current_path: Option<String>,
}

/// A request whose answer tells whether the switch is on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusEndpoint {
    url: Address,
    #[serde(default, deserialize_with = "method")]
    method: Method,
    #[serde(default)]
    data: Option<Secret>,
    /// Where in the JSON of the answer; without it the whole answer is taken, as text.
    #[serde(default)]
    path: Option<String>,
    /// What stands there if it is on.
    on: Value,
    /// What stands there if it is off.
    off: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    #[serde(default)]
    basic: Option<Account>,
    /// For devices that want no password to be seen on its way; goes before `basic`.
    #[serde(default)]
    digest: Option<Account>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    #[serde(default)]
    user: String,
    #[serde(default = "nothing")]
    password: Secret,
}

impl Auth {
    fn login(&self) -> Option<Login> {
        let (account, scheme) = match (&self.digest, &self.basic) {
            (Some(account), _) => (account, Scheme::Digest),
            (None, Some(account)) => (account, Scheme::Basic),
            (None, None) => return None,
        };
        let Account { user, password } = account.clone();
        Some(Login { user, password, scheme })
    }
}

fn device() -> String {
    "device".into()
}

/// The reference waits for ever; a device that is off would hold up a whole bench.
const fn patience() -> Duration {
    Duration::from_secs(10)
}

fn nothing() -> Secret {
    Secret::new("")
}

fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
    let name = String::deserialize(deserializer)?.to_uppercase();
    Method::from_bytes(name.as_bytes())
        .map_err(|_| D::Error::custom(format!("'{name}' is no HTTP method")))
}

impl Build for HttpPower {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self { http: Http::new(config.timeout), config })
    }
}

impl Switch for HttpPower {
    async fn set(&self, position: Position) -> Result<()> {
        tracing::debug!("switching {} {position}", self.config.name);
        let Endpoint { url, method, data, .. } = match position {
            Position::On => &self.config.power_on,
            Position::Off => &self.config.power_off,
        };
        self.http.send(self.request(url, method, data.as_ref())).await.map(drop)
    }

    fn read_back(&self) -> ReadBack {
        match self.config.power_status {
            Some(_) => ReadBack::Device,
            None => ReadBack::None,
        }
    }

    async fn state(&self) -> Result<State> {
        let status = self.config.power_status.as_ref().ok_or_else(no_status)?;
        let request = self.request(&status.url, &status.method, status.data.as_ref());
        status.interpret(&self.http.send(request).await?)
    }

    fn at_open(&self) -> AtOpen {
        self.config.default
    }

    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let Some(endpoint) = self.config.power_read.clone() else {
            let text = "power_read endpoint is not configured";
            return Err(DriverError::InvalidArgument(text.into()));
        };
        let http = self.http.clone();
        let request = self.request(&endpoint.url, &endpoint.method, endpoint.data.as_ref());
        let reading = async move { endpoint.interpret(&http.send(request).await?) };
        Ok(stream::once(reading).boxed())
    }
}

impl HttpPower {
    fn request(&self, url: &Address, method: &Method, data: Option<&Secret>) -> Request {
        let carries = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        let body = match data {
            Some(data) if carries => Body::Text(data.clone()),
            Some(_) | None => Body::Nothing,
        };
        let login = self.config.auth.as_ref().and_then(Auth::login);
        Request { method: method.clone(), address: url.clone(), login, body }
    }
}

impl StatusEndpoint {
    fn interpret(&self, answer: &str) -> Result<State> {
        let found = match &self.path {
            None => Value::from(answer.trim()),
            Some(path) => at(&json(answer)?, path).cloned().ok_or_else(|| not_found(path))?,
        };
        if found == self.on {
            Ok(State::On)
        } else if found == self.off {
            Ok(State::Off)
        } else {
            Err(DriverError::Device(format!(
                "the status is {found}, which is neither {} (on) nor {} (off)",
                self.on, self.off
            )))
        }
    }
}

impl Endpoint {
    /// The errors are in the reference's words.
    fn interpret(&self, answer: &str) -> Result<Reading> {
        let json = json(answer)?;
        let measured = |path: &Option<String>, usual: &str| {
            let key = path.as_deref().unwrap_or(usual);
            match (at(&json, key), path) {
                (Some(value), _) => float(value).ok_or_else(|| {
                    DriverError::InvalidArgument(format!(
                        "value at '{key}' is not numeric ({value})"
                    ))
                }),
                (None, Some(path)) => Err(not_found(path)),
                (None, None) => Ok(0.0),
            }
        };
        Ok(Reading {
            voltage: measured(&self.voltage_path, "voltage")?,
            current: measured(&self.current_path, "current")?,
        })
    }
}

fn json(answer: &str) -> Result<Value> {
    serde_json::from_str(answer).map_err(|error| {
        DriverError::InvalidArgument(format!("read endpoint did not return JSON: {error}"))
    })
}

fn not_found(path: &str) -> DriverError {
    DriverError::InvalidArgument(format!("configured path '{path}' not found in read response"))
}

/// What a dotted path leads to.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        Value::Object(map) => map.get(part),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// A number, also as text.
fn float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::TryStreamExt as _;
    use serde_json::json;

    use super::*;
    use crate::driver::Driver as _;
    use crate::power::switch::Switched;
    use crate::power::{Power as _, PowerDriver};
    use crate::registry::{self, parse};
    use crate::testing::http::Server;

    fn power(config: Value) -> Switched<HttpPower> {
        Switched::new(HttpPower::build(parse(config).unwrap()).unwrap())
    }

    /// A plug with a relay that can be stuck.
    async fn plug(stuck: bool) -> (Server, Arc<AtomicBool>) {
        let relay = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&relay);
        let server = Server::start(move |request| {
            if !request.headers.contains(&"authorization: Basic bWU6cHc=".to_owned()) {
                return (401, String::new());
            }
            match (&*request.method, &*request.target, &*request.body) {
                ("PUT", "/relay", body @ ("true" | "false")) => {
                    state.store(!stuck && body == "true", Ordering::Relaxed);
                    (200, String::new())
                }
                ("GET", "/relay", "") => {
                    let on = state.load(Ordering::Relaxed);
                    (200, json!({"relays": [{"ison": on, "u": "231.5", "i": 0.5}]}).to_string())
                }
                _ => (404, String::new()),
            }
        })
        .await;
        (server, relay)
    }

    fn config(server: &Server) -> Value {
        let url = format!("http://{}/relay", server.host());
        json!({
            "power_on": {"url": url, "method": "put", "data": "true"},
            "power_off": {"url": url, "method": "PUT", "data": "false"},
            "power_read": {"url": url, "voltage_path": "relays.0.u", "current_path": "relays.0.i"},
            "power_status": {"url": url, "data": "unused", "path": "relays.0.ison",
                "on": true, "off": false},
            "auth": {"basic": {"user": "me", "password": "pw"}},
        })
    }

    #[tokio::test]
    async fn it_switches_and_measures() {
        let (server, relay) = plug(false).await;
        let power = power(config(&server));
        power.on().await.unwrap();
        assert!(relay.load(Ordering::Relaxed));
        assert_eq!(power.status().await.unwrap(), State::On);
        let readings: Vec<_> = power.read().unwrap().try_collect().await.unwrap();
        assert_eq!(readings, [Reading { voltage: 231.5, current: 0.5 }]);
        power.off().await.unwrap();
        assert_eq!(power.status().await.unwrap(), State::Off);
    }

    #[tokio::test]
    async fn a_stuck_relay_is_noticed() {
        let (server, _) = plug(true).await;
        let error = power(config(&server)).on().await.unwrap_err();
        assert!(error.to_string().ends_with("but says that it is off"), "{error}");
    }

    #[tokio::test]
    async fn a_wrong_password_is_named_but_not_shown() {
        let (server, _) = plug(false).await;
        let mut config = config(&server);
        config["auth"]["basic"]["password"] = "hunter2".into();
        let power = power(config);
        assert!(!format!("{power:?}").contains("hunter2"));
        let error = power.on().await.unwrap_err();
        assert!(matches!(error, DriverError::PermissionDenied(_)), "{error}");
    }

    #[tokio::test]
    async fn without_a_status_it_says_that_it_is_blind() {
        let (server, _) = plug(true).await;
        let mut config = config(&server);
        config.as_object_mut().unwrap().remove("power_status");
        let power = PowerDriver(power(config));
        power.0.on().await.unwrap();
        assert!(power.methods_description()["on"].contains("read-back: none"));
    }

    #[test]
    fn answers_are_read_as_the_reference_reads_them() {
        let measure = |paths: Value, answer: &str| {
            let mut endpoint = json!({"url": "http://pdu/"});
            endpoint.as_object_mut().unwrap().extend(paths.as_object().unwrap().clone());
            parse::<Endpoint>(endpoint).unwrap().interpret(answer).map_err(|e| e.to_string())
        };
        let none = json!({});
        assert_eq!(
            measure(none.clone(), "{\"voltage\": 5}"),
            Ok(Reading { voltage: 5.0, current: 0.0 })
        );
        assert!(
            measure(none.clone(), "OK")
                .unwrap_err()
                .starts_with("read endpoint did not return JSON: ")
        );
        assert_eq!(
            measure(json!({"voltage_path": "a.1"}), "{\"a\": [1]}").unwrap_err(),
            "configured path 'a.1' not found in read response"
        );
        assert!(measure(none, "{\"voltage\": []}").unwrap_err().contains("is not numeric"));
    }

    #[test]
    fn a_status_that_is_neither_on_nor_off_is_an_error() {
        let status: StatusEndpoint =
            parse(json!({"url": "http://pdu/", "on": "ON", "off": "OFF"})).unwrap();
        assert_eq!(status.interpret("ON\r\n").unwrap(), State::On);
        let error = status.interpret("<html>").unwrap_err();
        assert!(error.to_string().starts_with("the status is \"<html>\", which is neither"));
    }

    #[test]
    fn mistakes_are_found_before_anything_is_switched() {
        let entry = registry::find("jumpstarter_driver_http_power.driver.HttpPower").unwrap();
        let refused = |config: Value| entry.build(config).unwrap_err().to_string();
        assert_eq!(refused(json!({})), "missing field `power_on`");
        let endpoint = json!({"url": "http://pdu/", "method": "a b"});
        assert_eq!(refused(json!({"power_on": endpoint})), "'A B' is no HTTP method");
        let error = HttpPower::build(
            parse(json!({"power_on": {"url": "http://a/"}, "power_off": {"url": "http://a/"}}))
                .unwrap(),
        )
        .unwrap()
        .read()
        .err()
        .unwrap();
        assert_eq!(error.to_string(), "power_read endpoint is not configured");
    }
}
