//! A service without a network, for trying things out: it echoes what it is sent.

use super::Network;
use crate::registry::{AnyConfig, Build};
use crate::{ByteStream, Result};

/// `jumpstarter_driver_network.driver.EchoNetwork`.
#[derive(Debug)]
pub struct EchoNetwork;

impl Build for EchoNetwork {
    // The reference's echo has no settings and takes any without a word.
    type Config = AnyConfig;

    fn build(_: AnyConfig) -> Result<Self> {
        Ok(Self)
    }
}

impl Network for EchoNetwork {
    async fn connect(&self) -> Result<ByteStream> {
        Ok(ByteStream::loopback())
    }
}
