//! A power distribution unit with one outlet, by SNMP: Raritan's table of outlets, served by a real
//! agent.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_snmp::{
    Agent, AuthoritativeEngine, BoxFuture, GetNextResult, GetResult, HandlerResult, MibHandler,
    Oid, PreparedSet, RequestContext, SetCommitResult, SetTestError, SetTestResult, SetUndoResult,
    Value,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is below this is Raritan's.
const VENDOR: &str = "1.3.6.1.4.1.13742";

/// The outlet that exists, in the column that switches and in the one that tells.
const SWITCH: &str = "1.3.6.1.4.1.13742.6.4.1.2.1.2.1.1";
const STATE: &str = "1.3.6.1.4.1.13742.6.4.1.2.1.3.1.1";

/// Starts one, which lets in the community `secret`; returns where it is. `outlet` is whether that is
/// on.
pub(crate) async fn pdu(
    tasks: &mut JoinSet<()>,
    outlet: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let engine =
        AuthoritativeEngine::install(b"\x80\0\x36\xaepdu1".to_vec(), |_| Ok::<_, Infallible>(()));
    let table = Table { outlet, switch: Oid::parse(SWITCH)?, state: Oid::parse(STATE)? };
    let agent = Agent::builder()
        .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string())
        .community("secret")
        .authoritative_engine(engine.context("the agent's engine")?)
        .handler(Oid::parse(VENDOR)?, Arc::new(table))
        .allow_all_access()
        .build()
        .await
        .context("starting an SNMP agent")?;
    let address = agent.local_addr();
    tasks.spawn(async move {
        // It runs until the bench ends.
        agent.run().await.ok();
    });
    Ok(address)
}

struct Table {
    outlet: watch::Sender<bool>,
    switch: Oid,
    state: Oid,
}

impl MibHandler for Table {
    fn get<'a>(
        &'a self,
        _: &'a RequestContext,
        oid: &'a Oid,
    ) -> BoxFuture<'a, HandlerResult<GetResult>> {
        let on = *self.outlet.borrow();
        let found = match *oid == self.state {
            true => GetResult::Value(Value::Integer(if on { 7 } else { 8 })),
            false => GetResult::NoSuchInstance,
        };
        Box::pin(async move { Ok(found) })
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
        value: &'a Value,
    ) -> BoxFuture<'a, SetTestResult> {
        let tested: Result<Box<dyn PreparedSet>, _> = match (*oid == self.switch, value) {
            (false, _) => Err(SetTestError::NotWritable),
            (true, Value::Integer(level @ 0..=1)) => {
                Ok(Box::new(Prepared { outlet: self.outlet.clone(), on: *level == 1 }))
            }
            (true, _) => Err(SetTestError::WrongValue),
        };
        Box::pin(async move { tested })
    }
}

struct Prepared {
    outlet: watch::Sender<bool>,
    on: bool,
}

impl PreparedSet for Prepared {
    fn commit<'a>(
        &'a mut self,
        _: &'a RequestContext,
        _: &'a Oid,
        _: &'a Value,
    ) -> BoxFuture<'a, SetCommitResult> {
        self.outlet.send_replace(self.on);
        Box::pin(async { Ok(()) })
    }

    fn undo<'a>(
        &'a mut self,
        _: &'a RequestContext,
        _: &'a Oid,
        _: &'a Value,
    ) -> BoxFuture<'a, SetUndoResult> {
        Box::pin(async { Ok(()) })
    }
}
