//! The screen of an emulated board.

use std::sync::Arc;

use tokio::net::UnixStream;

use super::machine::Machine;
use crate::network::Network;
use crate::{ByteStream, DriverError, Result};

/// QEMU's VNC server, while the board is on.
#[derive(Debug)]
pub(super) struct Vnc(pub(super) Arc<Machine>);

impl Network for Vnc {
    async fn connect(&self) -> Result<ByteStream> {
        let path = self.0.vnc().await.ok_or_else(|| {
            DriverError::Disconnected("there is no screen while the board is off".into())
        })?;
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| DriverError::io("connect to the board's screen", error))?;
        let (reader, writer) = stream.into_split();
        Ok(ByteStream::from_io("the board's screen", reader, writer))
    }
}
