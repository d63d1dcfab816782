//! A service that listens on UDP: a chunk is a datagram, in both directions.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::UdpSocket;

use super::{Endpoint, Network};
use crate::registry::Build;
use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// `jumpstarter_driver_network.driver.UdpNetwork`.
#[derive(Debug)]
pub struct UdpNetwork(Endpoint);

impl Build for UdpNetwork {
    type Config = Endpoint;

    fn build(config: Endpoint) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Network for UdpNetwork {
    const ADDRESS: bool = true;

    async fn connect(&self) -> Result<ByteStream> {
        tracing::debug!("connecting to udp://{}", self.0);
        let socket = Arc::new(open(&self.0).await?);
        let what: Arc<str> = format!("udp://{}", self.0).into();
        Ok(ByteStream {
            reader: Box::new(Reader {
                what: Arc::clone(&what),
                socket: Arc::clone(&socket),
                buffer: vec![0; LONGEST].into(),
            }),
            writer: Box::new(Writer { what, socket }),
        })
    }

    async fn address(&self) -> Result<String> {
        self.0.address("udp").await
    }
}

/// No datagram is longer, in bytes: its length field has 16 bits.
const LONGEST: usize = 65_535;

/// A socket that sends to the endpoint's first address that there is a route to, and hears only it.
async fn open(endpoint: &Endpoint) -> Result<UdpSocket> {
    let mut failures = Vec::new();
    for address in endpoint.resolve().await? {
        match connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(DriverError::io(
        format!("connect to udp://{endpoint}"),
        io::Error::new(io::ErrorKind::NetworkUnreachable, failures.join("; ")),
    ))
}

async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

struct Reader {
    what: Arc<str>,
    socket: Arc<UdpSocket>,
    buffer: Box<[u8]>,
}

#[async_trait]
impl ChunkReader for Reader {
    /// Never ends: UDP has no last datagram.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.socket.recv(&mut self.buffer).await {
                Ok(length) => return Ok(Some(Bytes::copy_from_slice(&self.buffer[..length]))),
                Err(error) if nobody_there_yet(&error) => {}
                Err(error) => {
                    return Err(DriverError::io(format!("read from {}", self.what), error));
                }
            }
        }
    }
}

struct Writer {
    what: Arc<str>,
    socket: Arc<UdpSocket>,
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let sent = match self.socket.send(&chunk).await {
            // The kernel has told of an earlier datagram instead of sending this one.
            Err(error) if nobody_there_yet(&error) => self.socket.send(&chunk).await,
            first => first,
        };
        match sent {
            Ok(_) => Ok(()),
            Err(error) if nobody_there_yet(&error) => Ok(()),
            Err(error) => Err(DriverError::io(
                format!("send a datagram of {} bytes to {}", chunk.len(), self.what),
                error,
            )),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whether the other side has said that no service listens. It may do so in a moment, and a stream
/// of datagrams outlives the loss of some.
fn nobody_there_yet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connected() -> (ByteStream, UdpSocket) {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = peer.local_addr().unwrap().port();
        let network = UdpNetwork(Endpoint::new("127.0.0.1".into(), port));
        (network.connect().await.unwrap(), peer)
    }

    #[tokio::test]
    async fn a_datagram_is_a_chunk() {
        let (mut stream, peer) = connected().await;
        let mut buffer = [0; 16];
        for sent in ["one", "", "three"] {
            stream.writer.write(sent.into()).await.unwrap();
        }
        stream.writer.finish().await.unwrap();
        let mut from = None;
        for expected in ["one", "", "three"] {
            let (length, address) = peer.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
            from = Some(address);
        }
        for sent in ["a", "", "bc"] {
            peer.send_to(sent.as_bytes(), from.unwrap()).await.unwrap();
        }
        for expected in ["a", "", "bc"] {
            assert_eq!(stream.reader.read().await.unwrap().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn the_longest_datagram_arrives_whole_and_a_longer_one_is_refused() {
        let (mut stream, peer) = connected().await;
        stream.writer.write(vec![7; 65_507].into()).await.unwrap();
        let mut buffer = vec![0; LONGEST];
        let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!(length, 65_507);
        peer.send_to(&buffer[..length], from).await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap().len(), 65_507);
        let error = stream.writer.write(vec![7; 65_508].into()).await.unwrap_err().to_string();
        assert!(error.starts_with("send a datagram of 65508 bytes to udp://127.0.0.1:"), "{error}");
    }

    #[tokio::test]
    async fn a_service_may_come_later() {
        let (mut stream, peer) = connected().await;
        let address = peer.local_addr().unwrap();
        drop(peer);
        // On the loopback the refusal of the first is there before the second is sent.
        stream.writer.write("lost".into()).await.unwrap();
        stream.writer.write("lost, too".into()).await.unwrap();
        let peer = UdpSocket::bind(address).await.unwrap();
        stream.writer.write("heard".into()).await.unwrap();
        let mut buffer = [0; 16];
        let (length, from) = peer.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"heard");
        peer.send_to(b"answer", from).await.unwrap();
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "answer");
    }
}
