//! A service that listens on TCP.

use super::{Endpoint, Network, dial};
use crate::registry::Build;
use crate::{ByteStream, Result};

/// `jumpstarter_driver_network.driver.TcpNetwork`.
#[derive(Debug)]
pub struct TcpNetwork(Endpoint);

impl Build for TcpNetwork {
    type Config = Endpoint;

    fn build(config: Endpoint) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Network for TcpNetwork {
    const ADDRESS: bool = true;

    async fn connect(&self) -> Result<ByteStream> {
        tracing::debug!("connecting to tcp://{}", self.0);
        let (reader, writer) = dial(&self.0).await?.into_split();
        Ok(ByteStream::from_io(&format!("tcp://{}", self.0), reader, writer))
    }

    async fn address(&self) -> Result<String> {
        self.0.address("tcp").await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn connected() -> (ByteStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = TcpNetwork(Endpoint::new("127.0.0.1".into(), port));
        let (stream, accepted) = tokio::join!(network.connect(), listener.accept());
        (stream.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn the_client_can_end_first() {
        let (mut stream, mut peer) = connected().await;
        stream.writer.write("request".into()).await.unwrap();
        stream.writer.finish().await.unwrap();
        let mut request = String::new();
        peer.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "request");
        peer.write_all(b"late answer").await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "late answer");
        drop(peer);
        assert!(stream.reader.read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_service_can_end_first() {
        let (mut stream, mut peer) = connected().await;
        peer.write_all(b"banner").await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "banner");
        assert!(stream.reader.read().await.unwrap().is_none());
        stream.writer.write("still heard".into()).await.unwrap();
        drop(stream);
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "still heard");
    }

    #[tokio::test]
    async fn a_reset_is_an_error_that_names_the_service() {
        let (mut stream, peer) = connected().await;
        peer.set_zero_linger().unwrap();
        let address = peer.local_addr().unwrap();
        drop(peer);
        let error = stream.reader.read().await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("read from tcp://{address}: ")), "{error}");
    }
}
