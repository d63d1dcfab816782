//! Power distribution units that are managed by SNMP, of any vendor: a value is written to an object
//! to switch an outlet, and another object tells where it is.

use std::future::Future;
use std::time::{Duration, SystemTime};

use async_snmp::v3::{DesSaltState, PersistedDesSaltState};
use async_snmp::{
    Auth, AuthProtocol as Digest, Client, Error, ErrorKind, MAX_RETRIES, Oid,
    PrivProtocol as Cipher, Retry, UsmConfig,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::switch::{AtOpen, Position, ReadBack, State, Switch, no_status};
use crate::registry::Build;
use crate::secret::Secret;
use crate::{DriverError, Result, number};

/// `jumpstarter_driver_snmp.driver.SNMPServer`.
#[derive(Debug)]
pub struct SnmpServer {
    config: Config,
    auth: Auth,
    outlet: Oid,
    status: Option<Status>,
}

/// Where the position is read, and what it reads.
#[derive(Debug, Clone)]
struct Status {
    object: Oid,
    on: Vec<i32>,
    off: Vec<i32>,
}

/// The `config:` block of a unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A name or an address.
    host: String,
    #[serde(default = "usual_port", deserialize_with = "number::whole")]
    port: u16,
    #[serde(default)]
    version: Version,
    /// The user, for version 3.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    auth_protocol: AuthProtocol,
    #[serde(default)]
    auth_key: Option<Secret>,
    #[serde(default)]
    priv_protocol: PrivProtocol,
    #[serde(default)]
    priv_key: Option<Secret>,
    /// The password of versions 1 and 2c, which is sent as it is.
    #[serde(default)]
    community: Option<Secret>,
    /// The number of the outlet, which is appended to the objects.
    #[serde(deserialize_with = "number::whole")]
    plug: u32,
    /// The object that switches an outlet.
    #[serde(default = "raritan")]
    oid: String,
    /// What is written to it.
    #[serde(default = "one", deserialize_with = "number::whole")]
    on_value: i32,
    #[serde(default, deserialize_with = "number::whole")]
    off_value: i32,
    /// The object that tells where an outlet is, and what it reads.
    #[serde(default)]
    status_oid: Option<String>,
    #[serde(default)]
    status_on: Vec<i32>,
    #[serde(default)]
    status_off: Vec<i32>,
    /// How long a call may take, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    timeout: Duration,
    #[serde(default)]
    default: AtOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
enum Version {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "2c")]
    TwoC,
    #[default]
    #[serde(rename = "3")]
    Three,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum AuthProtocol {
    #[default]
    None,
    Md5,
    Sha,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum PrivProtocol {
    #[default]
    None,
    Des,
    Aes,
}

/// `outletSwitchingOperation` of Raritan's PDU2-MIB, inlet 1: the reference's default.
const RARITAN_SWITCH: &str = "1.3.6.1.4.1.13742.6.4.1.2.1.2.1";

/// `outletSwitchingState` of the same, with its values.
const RARITAN_STATE: &str = "1.3.6.1.4.1.13742.6.4.1.2.1.3.1";
const RARITAN_ON: i32 = 7;
const RARITAN_OFF: i32 = 8;

const fn usual_port() -> u16 {
    161
}

fn raritan() -> String {
    RARITAN_SWITCH.into()
}

const fn one() -> i32 {
    1
}

const fn patience() -> Duration {
    Duration::from_secs(5)
}

/// How long to wait for an answer before asking again: datagrams get lost.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Build for SnmpServer {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let outlet = object(&config.oid, config.plug)?;
        Ok(Self { auth: config.auth()?, status: config.status()?, outlet, config })
    }
}

impl Switch for SnmpServer {
    const CLIENT: &'static str = "jumpstarter_driver_snmp.client.SNMPServerClient";

    /// Some units switch their outlets one after the other.
    const SETTLING: Duration = Duration::from_secs(10);

    async fn set(&self, position: Position) -> Result<()> {
        let value = match position {
            Position::On => self.config.on_value,
            Position::Off => self.config.off_value,
        };
        let set = async {
            let client = self.client().await?;
            client.set(&self.outlet, async_snmp::Value::Integer(value)).await
        };
        self.limited("set", set).await.map(drop)
    }

    fn read_back(&self) -> ReadBack {
        match self.status {
            Some(_) => ReadBack::Device,
            None => ReadBack::None,
        }
    }

    async fn state(&self) -> Result<State> {
        let status = self.status.as_ref().ok_or_else(no_status)?;
        let get = async { self.client().await?.get(&status.object).await };
        let response = self.limited("get", get).await?;
        let value = response.single().and_then(|found| found.value.as_i32());
        match value {
            Some(value) if status.on.contains(&value) => Ok(State::On),
            Some(value) if status.off.contains(&value) => Ok(State::Off),
            Some(_) | None => Err(DriverError::Device(format!(
                "SNMP get failed: {}: {} reads {:?}, which is neither {:?} (on) nor {:?} (off)",
                self.config.host, status.object, response.varbinds, status.on, status.off
            ))),
        }
    }

    fn at_open(&self) -> AtOpen {
        self.config.default
    }

    /// As the reference says it.
    fn reply(position: Position) -> Value {
        let word = match position {
            Position::On => "ON",
            Position::Off => "OFF",
        };
        format!("Power {word} command sent successfully").into()
    }
}

impl SnmpServer {
    /// A client for one call.
    async fn client(&self) -> async_snmp::Result<Client> {
        let retries = u32::try_from(self.config.timeout.as_secs()).unwrap_or(u32::MAX);
        let retry = Retry::fixed(retries.min(MAX_RETRIES), Duration::ZERO);
        let builder =
            Client::builder((self.config.host.clone(), self.config.port), self.auth.clone())
                .request_timeout(ASK_AGAIN.min(self.config.timeout))
                .construction_timeout(self.config.timeout)
                .retry(retry.unwrap_or_else(|_| Retry::none()));
        match self.config.priv_protocol {
            PrivProtocol::Des => builder.des_salt_state(salt()).connect().await,
            PrivProtocol::None | PrivProtocol::Aes => builder.connect().await,
        }
    }

    /// Waits for a call as long as the configuration says; the library's limits are for each part.
    async fn limited<T>(
        &self,
        what: &str,
        call: impl Future<Output = async_snmp::Result<T>>,
    ) -> Result<T> {
        let Config { host, timeout: limit, .. } = &self.config;
        match timeout(*limit, call).await {
            Ok(outcome) => outcome.map_err(|error| self.failure(what, &error)),
            Err(_) => Err(DriverError::Timeout(format!(
                "SNMP {what} failed: {host}: no answer within {limit:?}; check the address, and the \
                 community of versions 1 and 2c, since a wrong one is not answered either"
            ))),
        }
    }

    fn failure(&self, what: &str, error: &Error) -> DriverError {
        let text = format!("SNMP {what} failed: {}: {error}", self.config.host);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
        match error.kind() {
            ErrorKind::Timeout | ErrorKind::ConstructionTimeout => DriverError::Timeout(text),
            ErrorKind::Network | ErrorKind::Closed => DriverError::Disconnected(text),
            ErrorKind::Auth => DriverError::PermissionDenied(text),
            _ => DriverError::Device(text),
        }
    }
}

impl Config {
    /// Who we are for the unit. The errors are in the reference's words.
    fn auth(&self) -> Result<Auth> {
        let wrong = |text: &str| Err(DriverError::InvalidArgument(text.into()));
        let digest = match (self.version, self.auth_protocol) {
            (Version::One | Version::TwoC, _) => return self.community(),
            (Version::Three, AuthProtocol::None) => None,
            (Version::Three, AuthProtocol::Md5) => Some(Digest::Md5),
            (Version::Three, AuthProtocol::Sha) => Some(Digest::Sha1),
        };
        let cipher = match self.priv_protocol {
            PrivProtocol::None => None,
            PrivProtocol::Des => Some(Cipher::Des),
            PrivProtocol::Aes => Some(Cipher::Aes128),
        };
        let Some(user) = &self.user else { return wrong("missing field `user`") };
        let user = UsmConfig::new(user.clone().into_bytes());
        let user = match (digest, &self.auth_key, cipher, &self.priv_key) {
            (None, ..) => Ok(user),
            (Some(digest), Some(key), None, _) => user.auth(digest, key.reveal()),
            (Some(digest), Some(key), Some(cipher), Some(private)) => {
                user.auth_priv(digest, key.reveal(), cipher, private.reveal())
            }
            (Some(_), None, None, _) => {
                return wrong("Authentication key required when auth_protocol is specified");
            }
            (Some(_), _, Some(_), _) => {
                return wrong("Both auth_key and priv_key required for authenticated privacy");
            }
        };
        match user {
            Ok(user) => Ok(user.into()),
            Err(error) => wrong(&format!("auth_key, priv_key: {error}")),
        }
    }

    fn community(&self) -> Result<Auth> {
        let community = self.community.as_ref().ok_or_else(|| {
            DriverError::InvalidArgument("versions 1 and 2c need a `community`".into())
        })?;
        let community = community.reveal().to_owned();
        Ok(if self.version == Version::One { Auth::v1(community) } else { Auth::v2c(community) })
    }

    /// Where to read the position, if that is known.
    fn status(&self) -> Result<Option<Status>> {
        let (text, on, off) = match &self.status_oid {
            Some(text) => (text.as_str(), self.status_on.clone(), self.status_off.clone()),
            None if self.oid == RARITAN_SWITCH => {
                (RARITAN_STATE, vec![RARITAN_ON], vec![RARITAN_OFF])
            }
            None => return Ok(None),
        };
        if on.is_empty() || off.is_empty() {
            return Err(DriverError::InvalidArgument(
                "status_oid needs status_on and status_off: the values that it reads".into(),
            ));
        }
        Ok(Some(Status { object: object(text, self.plug)?, on, off }))
    }
}

/// An object of one outlet.
fn object(text: &str, plug: u32) -> Result<Oid> {
    let oid = Oid::parse(text).map_err(|error| {
        DriverError::InvalidArgument(format!("'{text}' is no object identifier: {error}"))
    })?;
    Ok(oid.child(plug))
}

/// What DES needs so that no message is encrypted as an earlier one: here, the time.
fn salt() -> DesSaltState {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = u32::try_from(now.as_secs() % (1 << 30)).unwrap_or_default() + 1;
    let kept = PersistedDesSaltState::new(epoch);
    kept.and_then(|kept| DesSaltState::restart(kept, |_| Ok::<_, std::convert::Infallible>(())))
        .expect("because the epoch is in range and keeping nothing does not fail")
}

#[cfg(test)]
mod tests;
