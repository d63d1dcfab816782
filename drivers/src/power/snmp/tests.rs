//! The driver with a power distribution unit of four outlets, which is served by a real SNMP agent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use async_snmp::{
    Agent, AuthoritativeEngine, BoxFuture, GetNextResult, GetResult, HandlerResult, MibHandler,
    PreparedSet, RequestContext, SetCommitResult, SetTestError, SetTestResult, SetUndoResult,
    UsmUser, Value as Held,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::driver::Driver as _;
use crate::power::switch::Switched;
use crate::power::{Power as _, PowerDriver};
use crate::registry::parse;
use crate::testing::Lent;

type Outlets = Arc<Mutex<[bool; 4]>>;

/// The two columns of Raritan's table of outlets that matter here.
struct Table(Outlets);

impl Table {
    /// The column and the index of an object of the table.
    fn cell(&self, oid: &Oid) -> Option<(bool, usize)> {
        let index = |column: &str| {
            let column = Oid::parse(column).unwrap();
            (1..=4).find(|&plug| column.child(plug) == *oid).map(|plug| plug as usize - 1)
        };
        let switch = index(RARITAN_SWITCH).map(|index| (true, index));
        switch.or_else(|| index(RARITAN_STATE).map(|index| (false, index)))
    }
}

impl MibHandler for Table {
    fn get<'a>(
        &'a self,
        _: &'a RequestContext,
        oid: &'a Oid,
    ) -> BoxFuture<'a, HandlerResult<GetResult>> {
        Box::pin(async move {
            Ok(match self.cell(oid) {
                Some((false, index)) => {
                    let on = self.0.lock().unwrap()[index];
                    GetResult::Value(Held::Integer(if on { 7 } else { 8 }))
                }
                Some((true, _)) | None => GetResult::NoSuchInstance,
            })
        })
    }

    fn get_next<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a Oid,
    ) -> BoxFuture<'a, HandlerResult<GetNextResult>> {
        Box::pin(async { Ok(GetNextResult::EndOfMibView) })
    }

    fn test_set<'a>(
        &'a self,
        _: &'a RequestContext,
        oid: &'a Oid,
        value: &'a Held,
    ) -> BoxFuture<'a, SetTestResult> {
        Box::pin(async move {
            match (self.cell(oid), value) {
                (Some((true, index)), Held::Integer(level @ 0..=1)) => {
                    let switch = Prepared { outlets: Arc::clone(&self.0), index, on: *level == 1 };
                    Ok(Box::new(switch) as Box<dyn PreparedSet>)
                }
                (Some((true, _)), _) => Err(SetTestError::WrongValue),
                _ => Err(SetTestError::NotWritable),
            }
        })
    }
}

struct Prepared {
    outlets: Outlets,
    index: usize,
    on: bool,
}

impl PreparedSet for Prepared {
    fn commit<'a>(
        &'a mut self,
        _: &'a RequestContext,
        _: &'a Oid,
        _: &'a Held,
    ) -> BoxFuture<'a, SetCommitResult> {
        self.outlets.lock().unwrap()[self.index] = self.on;
        Box::pin(async { Ok(()) })
    }

    fn undo<'a>(
        &'a mut self,
        _: &'a RequestContext,
        _: &'a Oid,
        _: &'a Held,
    ) -> BoxFuture<'a, SetUndoResult> {
        Box::pin(async { Ok(()) })
    }
}

struct Unit {
    outlets: Outlets,
    port: u16,
    _agent: JoinSet<()>,
}

/// A unit with one user for each combination of protocols, and a community.
async fn unit() -> Unit {
    let outlets = Outlets::default();
    let engine =
        AuthoritativeEngine::install(b"\x80\0\x36\xaepdu1".to_vec(), |_| Ok::<_, Infallible>(()))
            .unwrap();
    let secured = |digest, cipher| {
        move |user: UsmUser| user.auth_priv(digest, "authauth", cipher, "privpriv")
    };
    let agent = Agent::builder()
        .bind("127.0.0.1:0")
        .community("secret")
        .authoritative_engine(engine)
        .des_salt_state(DesSaltState::install(|_| Ok::<_, Infallible>(())).unwrap())
        .usm_user("open", Ok)
        .unwrap()
        .usm_user("signed", |user| user.auth(Digest::Sha1, "authauth"))
        .unwrap()
        .usm_user("des", secured(Digest::Md5, Cipher::Des))
        .unwrap()
        .usm_user("aes", secured(Digest::Sha1, Cipher::Aes128))
        .unwrap()
        .handler(Oid::parse("1.3.6.1.4.1.13742").unwrap(), Arc::new(Table(Arc::clone(&outlets))))
        .allow_all_access()
        .build()
        .await
        .unwrap();
    let port = agent.local_addr().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { agent.run().await.unwrap() });
    Unit { outlets, port, _agent: tasks }
}

fn power(unit: &Unit, settings: Value) -> Switched<SnmpServer> {
    let mut config = json!({"host": "127.0.0.1", "port": unit.port, "plug": 3});
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Switched::new(SnmpServer::build(parse(config).unwrap()).unwrap())
}

#[tokio::test]
async fn an_outlet_is_switched_whoever_we_are() {
    let unit = unit().await;
    for who in [
        json!({"user": "open"}),
        json!({"user": "signed", "auth_protocol": "SHA", "auth_key": "authauth"}),
        json!({"user": "des", "auth_protocol": "MD5", "auth_key": "authauth",
            "priv_protocol": "DES", "priv_key": "privpriv"}),
        json!({"user": "aes", "auth_protocol": "SHA", "auth_key": "authauth",
            "priv_protocol": "AES", "priv_key": "privpriv"}),
        json!({"version": "2c", "community": "secret"}),
        json!({"version": "1", "community": "secret"}),
    ] {
        let power = power(&unit, who);
        power.on().await.unwrap();
        assert_eq!(*unit.outlets.lock().unwrap(), [false, false, true, false]);
        assert_eq!(power.status().await.unwrap(), State::On);
        power.off().await.unwrap();
        assert_eq!(*unit.outlets.lock().unwrap(), [false; 4]);
    }
}

#[tokio::test]
async fn clients_of_the_reference_hear_what_it_says() {
    let unit = unit().await;
    let power = PowerDriver(power(&unit, json!({"user": "open"})));
    assert_eq!(power.client(), "jumpstarter_driver_snmp.client.SNMPServerClient");
    let answer = Lent::default().call(&power, "on", json!([])).await.unwrap();
    assert_eq!(answer, "Power ON command sent successfully");
}

#[tokio::test]
async fn a_wrong_key_switches_nothing() {
    let unit = unit().await;
    let settings = json!({"user": "aes", "auth_protocol": "SHA", "auth_key": "hunter22",
        "priv_protocol": "AES", "priv_key": "privpriv"});
    let power = power(&unit, settings);
    assert!(!format!("{power:?}").contains("hunter22"));
    let error = power.on().await.unwrap_err();
    assert!(error.to_string().starts_with("SNMP set failed: 127.0.0.1: "), "{error}");
    assert_eq!(*unit.outlets.lock().unwrap(), [false; 4]);
}

#[tokio::test]
async fn an_outlet_that_does_not_exist_is_an_error() {
    let unit = unit().await;
    let error = power(&unit, json!({"user": "open", "plug": 5})).on().await.unwrap_err();
    assert!(error.to_string().contains("notWritable"), "{error}");
}

#[tokio::test]
async fn a_unit_that_does_not_answer_is_a_timeout() {
    let unit = unit().await;
    let settings = json!({"version": "2c", "community": "wrong", "timeout": 0.3});
    let error = power(&unit, settings).on().await.unwrap_err();
    assert!(matches!(error, DriverError::Timeout(_)), "{error}");
}

#[test]
fn mistakes_are_found_before_anything_is_sent() {
    let refused = |settings: Value| {
        let mut config = json!({"host": "pdu", "plug": 1});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        SnmpServer::build(parse(config).unwrap()).unwrap_err().to_string()
    };
    assert_eq!(refused(json!({})), "missing field `user`");
    assert_eq!(
        refused(json!({"user": "u", "auth_protocol": "MD5"})),
        "Authentication key required when auth_protocol is specified"
    );
    assert_eq!(
        refused(json!({"user": "u", "auth_protocol": "MD5", "priv_protocol": "AES"})),
        "Both auth_key and priv_key required for authenticated privacy"
    );
    assert_eq!(refused(json!({"version": "1"})), "versions 1 and 2c need a `community`");
    assert!(refused(json!({"user": "u", "oid": "1.x"})).starts_with("'1.x' is no object"));
    let status = json!({"user": "u", "status_oid": "1.3.6", "status_on": [1]});
    assert!(refused(status).starts_with("status_oid needs status_on and status_off"));
}

#[test]
fn an_object_of_unknown_meaning_is_not_read() {
    let config = json!({"host": "pdu", "plug": 1, "user": "u", "oid": "1.3.6.1.4.1.318"});
    let server = SnmpServer::build(parse(config).unwrap()).unwrap();
    assert_eq!(server.read_back(), ReadBack::None);
}
