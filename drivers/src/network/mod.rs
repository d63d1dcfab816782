//! Network services of a DUT or of the lab: one file a kind of connection.
//!
//! Every connection that a client forwards is one stream; nothing is shared between streams and
//! nothing is open while there are none.

mod dial;
pub mod echo;
mod endpoint;
pub mod tcp;
pub(crate) mod tls;
pub mod udp;
pub mod unix;
pub mod websocket;

use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use serde_json::Value;

pub(crate) use self::dial::dial;
pub(crate) use self::endpoint::Endpoint;
use crate::driver::{Call, Driver, Method};
use crate::{ByteStream, DriverError, Result};

/// Something that a connection can be made to.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Whether clients may ask for the address, to connect without the exporter in between.
    const ADDRESS: bool = false;

    /// Makes one connection.
    fn connect(&self) -> impl Future<Output = Result<ByteStream>> + Send;

    /// The address as a URL. Only asked for if there is an [`ADDRESS`](Self::ADDRESS).
    fn address(&self) -> impl Future<Output = Result<String>> + Send {
        async { Err(DriverError::Unsupported("there is no address".into())) }
    }
}

/// A [`Network`] as a [`Driver`]: spells the wire names once for all of them.
#[derive(Debug)]
pub struct NetworkDriver<N>(pub N);

#[async_trait]
impl<N: Network> Driver for NetworkDriver<N> {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_network.client.NetworkClient"
    }

    fn category(&self) -> &'static str {
        "network"
    }

    fn methods(&self) -> &'static [Method] {
        const ALL: &[Method] = &[Method::bytes("connect"), Method::unary("address")];
        if N::ADDRESS { ALL } else { ALL.split_at(1).0 }
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "address" if N::ADDRESS => {
                call.args.none()?;
                Ok(Value::from(self.0.address().await?))
            }
            _ => Err(call.no_such_method()),
        }
    }

    async fn connect(&self, method: &str) -> Result<ByteStream> {
        match method {
            "connect" => self.0.connect().await,
            _ => Err(DriverError::NoSuchMethod(method.to_owned())),
        }
    }
}

/// What a client hears that asks for an address which is not for it, in the reference's words.
fn address_disabled() -> DriverError {
    DriverError::InvalidArgument(
        "enable_address mode is not true in the exporter configuration".into(),
    )
}

/// The default of `enable_address`.
const fn enabled() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::driver::{Shape, check_method};
    use crate::registry;

    #[test]
    fn only_what_has_an_address_tells_it() {
        let has_address = |name: &str, config| {
            let name = format!("jumpstarter_driver_network.driver.{name}");
            let built = registry::find(&name).unwrap().build(config).unwrap();
            assert!(check_method(&*built.driver, "connect", Shape::Bytes).is_ok());
            check_method(&*built.driver, "address", Shape::Unary).is_ok()
        };
        assert!(has_address("TcpNetwork", json!({"host": "dut", "port": 22})));
        assert!(has_address("UdpNetwork", json!({"host": "dut", "port": "69"})));
        assert!(has_address("WebsocketNetwork", json!({"url": "ws://dut/"})));
        assert!(!has_address("UnixNetwork", json!({"path": "/run/dut.sock"})));
        assert!(!has_address("EchoNetwork", json!({"anything": "goes"})));
    }

    #[test]
    fn a_misspelt_setting_is_an_error() {
        let entry = registry::find("jumpstarter_driver_network.driver.TcpNetwork").unwrap();
        let error = entry.build(json!({"host": "dut", "prot": 22})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `prot`"), "{error}");
    }
}
