//! EnerGenie power strips with a network socket (EG-PMS2-LAN, EG-PM2-LAN), by their web pages.
//!
//! The strip has one session, for whoever has logged in. Its pages show the sockets as a line of
//! script, `var sockstates = [1,0,0,1];`.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::switch::{AtOpen, Position, State, Switch};
use crate::http::{Address, Body, Http, Request, get};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `jumpstarter_driver_energenie.driver.EnerGenie`.
#[derive(Debug)]
pub struct EnerGenie {
    http: Http,
    address: Address,
    config: Config,
    /// Held while logged in.
    session: Mutex<()>,
}

/// The `config:` block of a strip.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name or an address, maybe with a port.
    host: String,
    /// The password of the web pages.
    #[serde(default = "one")]
    password: Secret,
    /// Which socket, from 1 to 4.
    #[serde(default = "first", deserialize_with = "number::whole")]
    slot: usize,
    #[serde(default)]
    default: AtOpen,
}

/// The password of a new strip.
fn one() -> Secret {
    Secret::new("1")
}

const fn first() -> usize {
    1
}

/// How long the strip may take to answer. The reference's limit.
const LIMIT: Duration = Duration::from_secs(10);

impl Build for EnerGenie {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        if !(1..=4).contains(&config.slot) {
            return Err(DriverError::InvalidArgument("Slot must be between 1 and 4".into()));
        }
        let address = Address::of_host(&config.host)?;
        Ok(Self { http: Http::new(LIMIT), address, config, session: Mutex::new(()) })
    }
}

impl Switch for EnerGenie {
    async fn set(&self, position: Position) -> Result<()> {
        let _session = self.session.lock().await;
        self.log_in().await?;
        let level = match position {
            Position::On => "1",
            Position::Off => "0",
        };
        let field = (format!("cte{}", self.config.slot), Secret::new(level));
        let switched = self.post("/", field).await;
        self.log_out().await;
        switched.map(drop)
    }

    async fn state(&self) -> Result<State> {
        let _session = self.session.lock().await;
        let page = self.log_in().await?;
        self.log_out().await;
        let states = states(&page).ok_or_else(|| self.no_states())?;
        states.get(self.config.slot - 1).copied().ok_or_else(|| self.no_states())
    }

    fn at_open(&self) -> AtOpen {
        self.config.default
    }
}

impl EnerGenie {
    /// Begins a session; returns the page that a user would see.
    async fn log_in(&self) -> Result<String> {
        let page = self.post("/login.html", ("pw".into(), self.config.password.clone())).await?;
        if states(&page).is_some() {
            return Ok(page);
        }
        Err(DriverError::PermissionDenied(format!(
            "log in at {}: the strip does not let us in; check the password in its configuration, \
             and whether somebody else is logged in",
            self.address
        )))
    }

    /// Ends the session, which otherwise locks everybody else out for minutes.
    async fn log_out(&self) {
        if let Err(error) = self.http.send(get(self.address.at("/login.html", &[]))).await {
            tracing::warn!("log out: {error}");
        }
    }

    async fn post(&self, path: &str, field: (String, Secret)) -> Result<String> {
        let body = Body::Form(vec![field]);
        let address = self.address.at(path, &[]);
        self.http.send(Request { method: Method::POST, address, login: None, body }).await
    }

    fn no_states(&self) -> DriverError {
        DriverError::Device(format!(
            "{}: the strip does not tell the state of socket {}",
            self.address, self.config.slot
        ))
    }
}

/// The sockets, as a page shows them.
fn states(page: &str) -> Option<Vec<State>> {
    let (_, rest) = page.split_once("sockstates = [")?;
    let (list, _) = rest.split_once(']')?;
    let state = |digit: &str| match digit.trim() {
        "1" => Some(State::On),
        "0" => Some(State::Off),
        _ => None,
    };
    list.split(',').map(state).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::{self, parse};
    use crate::testing::http::{self, Server};

    /// A strip as it presents itself: a form to log in, or the sockets.
    #[derive(Default)]
    struct Strip {
        sockets: [u8; 4],
        logged_in: bool,
    }

    impl Strip {
        fn answer(&mut self, request: &http::Request) -> (u16, String) {
            match (&*request.method, &*request.target, &*request.body) {
                ("POST", "/login.html", body) => self.logged_in = body == "pw=p%26w",
                ("GET", "/login.html", "") => self.logged_in = false,
                ("POST", "/", body) if self.logged_in => {
                    let (socket, level) = body.split_once('=').unwrap();
                    let socket: usize = socket.strip_prefix("cte").unwrap().parse().unwrap();
                    self.sockets[socket - 1] = level.parse().unwrap();
                }
                _ => {}
            }
            let page = if self.logged_in {
                let [a, b, c, d] = self.sockets;
                format!("<script>var sockstates = [{a},{b},{c},{d}];var x</script>")
            } else {
                "<form action=login.html><input name=pw></form>".to_owned()
            };
            (200, page)
        }
    }

    async fn strip() -> (Server, Arc<Mutex<Strip>>) {
        let strip = Arc::new(Mutex::new(Strip { sockets: [1, 0, 0, 1], logged_in: false }));
        let device = Arc::clone(&strip);
        (Server::start(move |request| device.lock().unwrap().answer(request)).await, strip)
    }

    fn power(server: &Server, password: &str) -> Switched<EnerGenie> {
        let config = json!({"host": server.host(), "password": password, "slot": "3"});
        Switched::new(EnerGenie::build(parse(config).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn it_switches_its_socket_and_logs_out() {
        let (server, strip) = strip().await;
        let power = power(&server, "p&w");
        power.on().await.unwrap();
        assert_eq!(strip.lock().unwrap().sockets, [1, 0, 1, 1]);
        assert_eq!(power.status().await.unwrap(), State::On);
        power.off().await.unwrap();
        assert_eq!(strip.lock().unwrap().sockets, [1, 0, 0, 1]);
        assert!(!strip.lock().unwrap().logged_in);
    }

    #[tokio::test]
    async fn a_wrong_password_is_an_error() {
        let (server, strip) = strip().await;
        let error = power(&server, "2").on().await.unwrap_err();
        assert!(matches!(error, DriverError::PermissionDenied(_)), "{error}");
        assert_eq!(strip.lock().unwrap().sockets, [1, 0, 0, 1]);
    }

    #[test]
    fn a_strip_has_four_sockets() {
        let entry = registry::find("jumpstarter_driver_energenie.driver.EnerGenie").unwrap();
        let error = entry.build(json!({"host": "strip", "slot": 5})).unwrap_err();
        assert_eq!(error.to_string(), "Slot must be between 1 and 4");
        assert_eq!(states("sockstates = [1,x]"), None);
    }
}
