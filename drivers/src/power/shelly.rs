//! Shelly plugs and relays, of every generation, by their HTTP interface.
//!
//! The first generation has a page per relay; later ones take JSON-RPC. A device tells at `/shelly`
//! which it is: later ones have a `gen`. Sources: Shelly's API documentation, "Gen1 Device API" and
//! "Gen2+ Device API".

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::Reading;
use super::switch::{AtOpen, Position, State, Switch, no_measurement};
use crate::http::{Address, Body, Http, Login, Request, Scheme, get};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `hilt.power.Shelly`.
#[derive(Debug)]
pub struct Shelly(std::sync::Arc<Device>);

#[derive(Debug)]
struct Device {
    http: Http,
    address: Address,
    generation: OnceCell<Generation>,
    config: Config,
}

/// The `config:` block of a Shelly.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name or an address, maybe with a port.
    host: String,
    /// Which of the device's relays, from 0.
    #[serde(default, deserialize_with = "number::whole")]
    relay: u8,
    /// The user name, on a device that asks for one. Later generations know no other than `admin`.
    #[serde(default = "admin")]
    user: String,
    /// The password to it.
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    default: AtOpen,
}

fn admin() -> String {
    "admin".to_owned()
}

/// How a device is spoken to.
#[derive(Debug, Clone, Copy)]
enum Generation {
    /// By pages.
    First,
    /// By JSON-RPC.
    Later,
}

/// How long a device may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

impl Build for Shelly {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let address = Address::of_host(&config.host)?;
        let generation = OnceCell::new();
        Ok(Self(Device { http: Http::new(LIMIT), address, generation, config }.into()))
    }
}

impl Switch for Shelly {
    async fn set(&self, position: Position) -> Result<()> {
        let device = &self.0;
        match device.generation().await? {
            Generation::First => {
                let turn = ("turn".to_owned(), Secret::new(position.to_string()));
                device.page(Method::POST, Body::Form(vec![turn])).await?;
            }
            Generation::Later => {
                let on = position == Position::On;
                device.rpc("Switch.Set", json!({"id": device.config.relay, "on": on})).await?;
            }
        }
        Ok(())
    }

    async fn state(&self) -> Result<State> {
        let (status, key) = match self.0.generation().await? {
            Generation::First => (self.0.page(Method::GET, Body::Nothing).await?, "ison"),
            Generation::Later => (self.0.status().await?, "output"),
        };
        match status.get(key).and_then(Value::as_bool) {
            Some(on) => Ok(State::from(on)),
            None => Err(DriverError::Device(format!(
                "{}: its status has no '{key}': {status}",
                self.0.address
            ))),
        }
    }

    fn at_open(&self) -> AtOpen {
        self.0.config.default
    }

    /// One measurement, of a device that has a meter for volts and amperes.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let device = std::sync::Arc::clone(&self.0);
        let reading = async move {
            let status = match device.generation().await? {
                Generation::First => return Err(no_measurement()),
                Generation::Later => device.status().await?,
            };
            let measured = |key: &str| status.get(key).and_then(Value::as_f64);
            match (measured("voltage"), measured("current")) {
                (Some(voltage), Some(current)) => Ok(Reading { voltage, current }),
                _ => Err(no_measurement()),
            }
        };
        Ok(stream::once(reading).boxed())
    }
}

impl Device {
    /// Asks the device which it is, the first time.
    async fn generation(&self) -> Result<Generation> {
        let ask = || async {
            let address = self.address.at("/shelly", &[]);
            let answer = self.http.send(get(address)).await?;
            let about: Value = serde_json::from_str(&answer).unwrap_or_default();
            match (about.get("gen"), about.get("type")) {
                (Some(_), _) => Ok(Generation::Later),
                (None, Some(_)) => Ok(Generation::First),
                (None, None) => {
                    Err(DriverError::Device(format!("{}: it is not a Shelly", self.address)))
                }
            }
        };
        self.generation.get_or_try_init(ask).await.copied()
    }

    /// The page of the relay, on a device of the first generation.
    async fn page(&self, method: Method, body: Body) -> Result<Value> {
        let address = self.address.at(&format!("/relay/{}", self.config.relay), &[]);
        let login = self.login(Scheme::Basic);
        let answer = self.http.send(Request { method, address, login, body }).await?;
        self.json(&answer)
    }

    /// What the relay of a later device is doing.
    async fn status(&self) -> Result<Value> {
        self.rpc("Switch.GetStatus", json!({"id": self.config.relay})).await
    }

    /// Calls a method of a later device.
    async fn rpc(&self, method: &str, params: Value) -> Result<Value> {
        let body = Body::Json(json!({"id": 1, "method": method, "params": params}));
        let address = self.address.at("/rpc", &[]);
        let login = self.login(Scheme::Digest);
        let request = Request { method: Method::POST, address, login, body };
        let mut answer = self.json(&self.http.send(request).await?)?;
        match answer.get("error") {
            None => Ok(answer["result"].take()),
            Some(error) => Err(DriverError::Device(format!("{}: {method}: {error}", self.address))),
        }
    }

    fn login(&self, scheme: Scheme) -> Option<Login> {
        let Config { user, password, .. } = &self.config;
        password.clone().map(|password| Login { user: user.clone(), password, scheme })
    }

    fn json(&self, answer: &str) -> Result<Value> {
        serde_json::from_str(answer).map_err(|error| {
            DriverError::Device(format!("{}: it did not answer in JSON: {error}", self.address))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::TryStreamExt as _;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::parse;
    use crate::testing::http::{self, Server};

    fn power(server: &Server, relay: u8) -> Switched<Shelly> {
        let config = json!({"host": server.host(), "relay": relay, "password": "pw"});
        Switched::new(Shelly::build(parse(config).unwrap()).unwrap())
    }

    fn first(request: &http::Request, relay: &AtomicBool) -> (u16, String) {
        let allowed = request.headers.contains(&"authorization: Basic YWRtaW46cHc=".to_owned());
        match (&*request.method, &*request.target, &*request.body) {
            (_, "/shelly", _) => {
                return (200, json!({"type": "SHSW-25", "auth": true}).to_string());
            }
            _ if !allowed => return (401, "401 Unauthorized".into()),
            ("POST", "/relay/1", "turn=on") => relay.store(true, Ordering::Relaxed),
            ("POST", "/relay/1", "turn=off") => relay.store(false, Ordering::Relaxed),
            ("GET", "/relay/1", "") => {}
            _ => return (404, "Not Found".into()),
        }
        (200, json!({"ison": relay.load(Ordering::Relaxed), "source": "http"}).to_string())
    }

    /// What a device of a later generation says to those who have not shown the password.
    const CHALLENGE: &str =
        "Digest qop=\"auth\", realm=\"shellyplugsg3-1\", nonce=\"60dc59c6\", algorithm=SHA-256";

    /// Whether a request has the answer to it, by the formula of RFC 7616.
    fn has_answered(request: &http::Request) -> bool {
        let header =
            request.headers.iter().find_map(|it| it.strip_prefix("authorization: Digest "));
        let part = |name: &str| {
            let parts = header
                .unwrap_or_default()
                .split(',')
                .filter_map(|part| part.trim().split_once('='));
            let found = parts.into_iter().find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| value.trim_matches('"'))
        };
        let hash = |text: String| {
            Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let secret = hash("admin:shellyplugsg3-1:pw".to_owned());
        let what = hash(format!("{}:{}", request.method, request.target));
        let (nc, cnonce) = (part("nc"), part("cnonce"));
        part("response") == hash(format!("{secret}:60dc59c6:{nc}:{cnonce}:auth:{what}"))
    }

    fn later(request: &http::Request, relay: &AtomicBool) -> (u16, String) {
        if request.target == "/shelly" {
            return (200, json!({"gen": 3, "app": "PlugSG3"}).to_string());
        }
        if (&*request.method, &*request.target) != ("POST", "/rpc") {
            return (404, String::new());
        }
        let call: Value = serde_json::from_str(&request.body).unwrap();
        let was_on = relay.load(Ordering::Relaxed);
        let answer = match (call["method"].as_str().unwrap(), call["params"]["id"].as_u64()) {
            ("Switch.Set", Some(0)) => {
                relay.store(call["params"]["on"].as_bool().unwrap(), Ordering::Relaxed);
                ("result", json!({"was_on": was_on}))
            }
            ("Switch.GetStatus", Some(0)) => {
                let (volts, amperes) = (230.1, if was_on { 0.2 } else { 0.0 });
                ("result", json!({"output": was_on, "voltage": volts, "current": amperes}))
            }
            _ => ("error", json!({"code": -105, "message": "Argument 'id' not found!"})),
        };
        (200, json!({"id": call["id"], (answer.0): answer.1}).to_string())
    }

    #[tokio::test]
    async fn the_first_generation_has_pages() {
        let relay = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&relay);
        let server = Server::start(move |request| first(request, &state)).await;
        let power = power(&server, 1);
        power.on().await.unwrap();
        assert!(relay.load(Ordering::Relaxed));
        assert_eq!(power.status().await.unwrap(), State::On);
        power.off().await.unwrap();
        assert_eq!(power.status().await.unwrap(), State::Off);
        let error = power.read().unwrap().try_collect::<Vec<_>>().await.unwrap_err();
        assert!(matches!(error, DriverError::Unsupported(_)));
    }

    #[tokio::test]
    async fn later_generations_take_json() {
        let relay = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&relay);
        let server = Server::start(move |request| later(request, &state)).await;
        let one = power(&server, 0);
        one.on().await.unwrap();
        assert_eq!(one.status().await.unwrap(), State::On);
        let readings: Vec<_> = one.read().unwrap().try_collect().await.unwrap();
        assert_eq!(readings, [Reading { voltage: 230.1, current: 0.2 }]);
        one.off().await.unwrap();
        assert!(!relay.load(Ordering::Relaxed));
        let error = power(&server, 4).on().await.unwrap_err();
        assert!(error.to_string().contains("Switch.Set: {\"code\":-105"), "{error}");
    }

    #[tokio::test]
    async fn later_generations_never_see_the_password_itself() {
        let relay = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&relay);
        let server = Server::start(move |request| {
            assert!(!request.headers.iter().any(|header| header.contains("Basic")));
            if request.target != "/shelly" && !has_answered(request) {
                let headers = vec![format!("WWW-Authenticate: {CHALLENGE}")];
                return http::Answer { status: 401, headers, text: String::new() };
            }
            later(request, &state).into()
        })
        .await;
        power(&server, 0).on().await.unwrap();
        assert!(relay.load(Ordering::Relaxed));
        let wrong = json!({"host": server.host(), "password": "wrong"});
        let wrong = Switched::new(Shelly::build(parse(wrong).unwrap()).unwrap());
        let error = wrong.off().await.unwrap_err();
        assert!(matches!(error, DriverError::PermissionDenied(_)), "{error}");
        assert!(error.to_string().ends_with("password in its configuration"), "{error}");
        assert!(relay.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_is_no_shelly_is_said_so() {
        let server = Server::start(|_| (200, "<html>A printer</html>".into())).await;
        let error = power(&server, 0).on().await.unwrap_err();
        assert!(error.to_string().ends_with("/: it is not a Shelly"), "{error}");
    }
}
