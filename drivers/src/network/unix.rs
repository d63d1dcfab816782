//! A service that listens on a Unix stream socket of the exporter's host.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::net::UnixStream;

use super::Network;
use crate::registry::Build;
use crate::{ByteStream, DriverError, Result};

/// `jumpstarter_driver_network.driver.UnixNetwork`.
#[derive(Debug)]
pub struct UnixNetwork(Config);

/// The `config:` block of a Unix socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the socket is.
    path: PathBuf,
}

impl Build for UnixNetwork {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Network for UnixNetwork {
    async fn connect(&self) -> Result<ByteStream> {
        let path = self.0.path.display();
        tracing::debug!("connecting to {path}");
        // The kernel answers at once, whether somebody listens or not.
        let stream = UnixStream::connect(&self.0.path)
            .await
            .map_err(|error| DriverError::io(format!("connect to the socket {path}"), error))?;
        let (reader, writer) = stream.into_split();
        Ok(ByteStream::from_io(&format!("the socket {path}"), reader, writer))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn both_sides_can_end_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dut.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let network = UnixNetwork(Config { path });
        let mut stream = network.connect().await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();

        stream.writer.write("request".into()).await.unwrap();
        stream.writer.finish().await.unwrap();
        let mut request = String::new();
        peer.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "request");
        peer.write_all(b"answer").await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "answer");
        assert!(stream.reader.read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_missing_socket_is_named() {
        let network = UnixNetwork(Config { path: "/nonexistent/dut.sock".into() });
        let error = network.connect().await.err().unwrap();
        assert!(matches!(error, DriverError::NotFound(_)));
        assert_eq!(
            error.to_string(),
            "connect to the socket /nonexistent/dut.sock: No such file or directory (os error 2)"
        );
    }
}
