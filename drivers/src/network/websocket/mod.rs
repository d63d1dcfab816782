//! A service that speaks WebSocket: a chunk is a binary message, in both directions.

mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(crate) use self::url::Url;
use super::{Network, address_disabled, dial, enabled, tls};
use crate::registry::Build;
use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// `jumpstarter_driver_network.driver.WebsocketNetwork`.
#[derive(Debug)]
pub struct WebsocketNetwork(Config);

/// The `config:` block of a WebSocket service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it is.
    url: Url,
    /// Whether clients may ask for the URL.
    #[serde(default = "enabled")]
    enable_address: bool,
}

impl Build for WebsocketNetwork {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self(config))
    }
}

impl Network for WebsocketNetwork {
    const ADDRESS: bool = true;

    async fn connect(&self) -> Result<ByteStream> {
        tracing::info!("connecting to {}", self.0.url);
        connect(&self.0.url, None).await
    }

    async fn address(&self) -> Result<String> {
        if !self.0.enable_address {
            return Err(address_disabled());
        }
        Ok(self.0.url.text.clone())
    }
}

/// Connects to a service; `protocol` is the name of what is to be spoken with it, if that has one.
pub(crate) async fn connect(url: &Url, protocol: Option<&str>) -> Result<ByteStream> {
    let plain = dial(&url.endpoint).await?;
    let opening = async {
        if url.secure {
            let roots = tls::host_roots().await?;
            let secured = tls::shake_hands(plain, &url.endpoint.host, roots).await?;
            open(url, protocol, secured).await
        } else {
            open(url, protocol, plain).await
        }
    };
    timeout(OPEN_LIMIT, opening).await.map_err(|_| {
        DriverError::Timeout(format!("connect to {url}: no answer within {OPEN_LIMIT:?}"))
    })?
}

/// How long the handshakes may take once the connection is made.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// The longest message that is taken from a service, in bytes. A message stays one chunk, and a
/// client takes chunks of up to 4 MiB, its framing included.
const LONGEST_MESSAGE: usize = 4_000_000;

/// Opens the WebSocket over a connection.
async fn open<S>(url: &Url, protocol: Option<&str>, connection: S) -> Result<ByteStream>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let mut request = ClientRequestBuilder::new(url.uri.clone());
    if let Some(protocol) = protocol {
        request = request.with_sub_protocol(protocol);
    }
    let (socket, _) = client_async_with_config(request, connection, Some(config))
        .await
        .map_err(|error| broken(format!("connect to {url}"), error))?;
    let (sink, messages) = socket.split();
    let what: Arc<str> = url.to_string().into();
    let sink = Arc::new(Polite(Mutex::new(sink)));
    Ok(ByteStream {
        reader: Box::new(Reader { what: Arc::clone(&what), messages, _sink: Arc::clone(&sink) }),
        writer: Box::new(Writer { what, sink }),
    })
}

/// Sorts an error of the protocol into the categories that callers act on.
fn broken(context: String, error: Error) -> DriverError {
    if let Error::Io(source) = error {
        return DriverError::io(context, source);
    }
    DriverError::Disconnected(format!("{context}: {error}"))
}

/// The sending direction, shared by both halves of a stream: the last to go says goodbye.
struct Polite<S: AsyncRead + AsyncWrite + Unpin>(Mutex<SplitSink<WebSocketStream<S>, Message>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Polite<S> {
    fn drop(&mut self) {
        // The farewell fits into the socket's buffer unless the peer has stopped reading, and then
        // it has no use for one. Nobody waits for the answer.
        drop(self.0.get_mut().close().now_or_never());
    }
}

struct Reader<S: AsyncRead + AsyncWrite + Unpin> {
    what: Arc<str>,
    messages: SplitStream<WebSocketStream<S>>,
    _sink: Arc<Polite<S>>,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ChunkReader for Reader<S> {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.messages.next().await {
                Some(Ok(Message::Binary(chunk))) => return Ok(Some(chunk)),
                Some(Ok(Message::Text(text))) => return Ok(Some(text.into())),
                Some(Ok(Message::Close(frame))) => return farewell(&self.what, frame),
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(broken(format!("read from {}", self.what), error)),
                None => return Ok(None),
            }
        }
    }
}

/// What a service's goodbye means for the client: the end, or that something went wrong.
fn farewell(what: &str, frame: Option<CloseFrame>) -> Result<Option<Bytes>> {
    match frame {
        None | Some(CloseFrame { code: CloseCode::Normal | CloseCode::Away, .. }) => Ok(None),
        Some(frame) => Err(DriverError::Disconnected(format!("{what} closed: {frame}"))),
    }
}

struct Writer<S: AsyncRead + AsyncWrite + Unpin> {
    what: Arc<str>,
    sink: Arc<Polite<S>>,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ChunkWriter for Writer<S> {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let sent = self.sink.0.lock().await.send(Message::Binary(chunk)).await;
        sent.map_err(|error| broken(format!("write to {}", self.what), error))
    }

    /// Does nothing: a WebSocket can't be half closed.
    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::accept_async;

    use super::*;

    fn network(url: &str) -> WebsocketNetwork {
        let url = Url::try_from(url.to_owned()).unwrap();
        WebsocketNetwork(Config { url, enable_address: true })
    }

    async fn connected() -> (ByteStream, WebSocketStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = network(&format!("ws://{}/vnc?token=x", listener.local_addr().unwrap()));
        let accept = async { accept_async(listener.accept().await.unwrap().0).await };
        let (stream, peer) = tokio::join!(network.connect(), accept);
        (stream.unwrap(), peer.unwrap())
    }

    #[tokio::test]
    async fn a_message_is_a_chunk() {
        let (mut stream, mut peer) = connected().await;
        for sent in ["one", "", "three"] {
            stream.writer.write(sent.into()).await.unwrap();
        }
        stream.writer.finish().await.unwrap();
        for expected in ["one", "", "three"] {
            assert_eq!(peer.next().await.unwrap().unwrap(), Message::Binary(expected.into()));
        }
        peer.send(Message::Binary("a".into())).await.unwrap();
        peer.send(Message::Ping("?".into())).await.unwrap();
        peer.send(Message::Binary(Bytes::new())).await.unwrap();
        peer.send(Message::Text("text".into())).await.unwrap();
        peer.send(Message::Binary(vec![7; 1 << 20].into())).await.unwrap();
        for expected in ["a", "", "text"] {
            assert_eq!(stream.reader.read().await.unwrap().unwrap(), expected);
        }
        let (long, _) = tokio::join!(stream.reader.read(), peer.next());
        assert_eq!(long.unwrap().unwrap().len(), 1 << 20);
    }

    #[tokio::test]
    async fn a_goodbye_ends_the_stream() {
        let (mut stream, mut peer) = connected().await;
        peer.close(None).await.unwrap();
        assert!(stream.reader.read().await.unwrap().is_none());
        assert!(stream.writer.write("late".into()).await.is_err());

        let (mut stream, mut peer) = connected().await;
        let frame = CloseFrame { code: CloseCode::Error, reason: "out of memory".into() };
        peer.close(Some(frame)).await.unwrap();
        let error = stream.reader.read().await.unwrap_err().to_string();
        assert!(error.ends_with("/vnc closed: out of memory (1011)"), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_stream_says_goodbye_but_half_of_it_does_not() {
        let (stream, mut peer) = connected().await;
        let ByteStream { mut reader, writer } = stream;
        drop(writer);
        peer.send(Message::Binary("still here".into())).await.unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap(), "still here");
        drop(reader);
        assert_eq!(peer.next().await.unwrap().unwrap(), Message::Close(None));
    }

    #[tokio::test]
    async fn a_lost_connection_is_an_error() {
        let (mut stream, peer) = connected().await;
        drop(peer.into_inner());
        let error = stream.reader.read().await.unwrap_err().to_string();
        assert!(error.starts_with("read from ws://127.0.0.1:"), "{error}");
        assert!(!error.contains("token"), "{error}");
    }

    #[tokio::test]
    async fn a_service_that_speaks_something_else_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = network(&format!("ws://{}/", listener.local_addr().unwrap()));
        let refuse = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut peer, answer).await.unwrap();
            peer
        };
        let (error, _peer) = tokio::join!(network.connect(), refuse);
        let error = error.err().unwrap().to_string();
        assert!(error.ends_with("/: HTTP error: 404 Not Found"), "{error}");
    }

    #[tokio::test]
    async fn a_secure_url_means_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network =
            network(&format!("wss://localhost:{}/", listener.local_addr().unwrap().port()));
        let (acceptor, _) = tls::tests::server();
        let accept = async { acceptor.accept(listener.accept().await.unwrap().0).await };
        let (error, _) = tokio::join!(network.connect(), accept);
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with("TLS with localhost: invalid peer certificate"), "{error}");
    }

    #[tokio::test]
    async fn the_address_is_the_url() {
        let mut network = network("ws://dut/console?token=x");
        assert_eq!(network.address().await.unwrap(), "ws://dut/console?token=x");
        network.0.enable_address = false;
        assert_eq!(
            network.address().await.unwrap_err().to_string(),
            "enable_address mode is not true in the exporter configuration"
        );
    }
}
