//! A session with an MQTT broker (version 3.1.1), as short as one call.
//!
//! Nothing is kept open between calls, so there is nothing to keep alive or to connect again.

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, Publish, Subscribe, SubscribeReasonCode,
};
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::network::websocket::{self, Url};
use crate::network::{Endpoint, dial, tls};
use crate::secret::Secret;
use crate::{ByteStream, DriverError, Result};

/// The longest packet that is taken from a broker, in bytes.
const LONGEST_PACKET: usize = 64 * 1024;

/// Where a broker is, and how it is to be spoken to.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) transport: Transport,
    /// A name or an address, or the path of a Unix socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) client_id: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// What MQTT goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    #[default]
    Tcp,
    Websockets,
    Unix,
}

/// A session that the broker has accepted.
pub(super) struct Session {
    /// What errors call the broker.
    what: String,
    stream: ByteStream,
    received: BytesMut,
}

impl Broker {
    /// Begins a session.
    ///
    /// # Errors
    ///
    /// [`DriverError::PermissionDenied`] if the broker refuses the user.
    pub(super) async fn connect(&self) -> Result<Session> {
        let what = self.to_string();
        let stream = self.stream().await?;
        let mut session = Session { what, stream, received: BytesMut::new() };
        let id = uuid::Uuid::new_v4().simple().to_string();
        // Brokers need not take more than 23 characters.
        let id = self.client_id.clone().unwrap_or_else(|| format!("hilt-{}", &id[..16]));
        let mut hello = Connect::new(id);
        // No call lasts long enough for the broker to doubt that we are still there.
        hello.keep_alive = 0;
        hello.login = self.username.as_ref().map(|name| {
            let password = self.password.as_ref().map_or("", Secret::reveal);
            Login::new(name.clone(), password)
        });
        session.send(Packet::Connect(hello)).await?;
        loop {
            if let Packet::ConnAck(answer) = session.next().await? {
                return session.accepted(answer.code);
            }
        }
    }

    async fn stream(&self) -> Result<ByteStream> {
        let endpoint = Endpoint::new(self.host.clone(), self.port);
        let what = self.to_string();
        match (self.transport, self.tls) {
            (Transport::Tcp, false) => {
                let (reader, writer) = dial(&endpoint).await?.into_split();
                Ok(ByteStream::from_io(&what, reader, writer))
            }
            (Transport::Tcp, true) => {
                let plain = dial(&endpoint).await?;
                let secured = tls::shake_hands(plain, &self.host, tls::host_roots().await?).await?;
                let (reader, writer) = tokio::io::split(secured);
                Ok(ByteStream::from_io(&what, reader, writer))
            }
            (Transport::Websockets, tls) => {
                let scheme = if tls { "wss" } else { "ws" };
                let url = Url::try_from(format!("{scheme}://{endpoint}/mqtt"));
                websocket::connect(&url.map_err(DriverError::InvalidArgument)?, Some("mqtt")).await
            }
            // Whoever is on the other end of a socket file needs no certificate.
            (Transport::Unix, _) => {
                let (reader, writer) = UnixStream::connect(&self.host)
                    .await
                    .map_err(|error| DriverError::io(format!("connect to {what}"), error))?
                    .into_split();
                Ok(ByteStream::from_io(&what, reader, writer))
            }
        }
    }
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.transport {
            Transport::Tcp | Transport::Websockets => {
                write!(f, "the broker at {}:{}", self.host, self.port)
            }
            Transport::Unix => write!(f, "the broker at {}", self.host),
        }
    }
}

impl Session {
    fn accepted(self, code: ConnectReturnCode) -> Result<Self> {
        let what = &self.what;
        match code {
            ConnectReturnCode::Success => Ok(self),
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                Err(DriverError::PermissionDenied(format!(
                    "{what} refuses the user; check username and password in the configuration"
                )))
            }
            ConnectReturnCode::RefusedProtocolVersion
            | ConnectReturnCode::BadClientId
            | ConnectReturnCode::ServiceUnavailable => {
                Err(DriverError::Device(format!("{what} refuses the connection: {code:?}")))
            }
        }
    }

    /// Asks for all that is published under `topic` from now on.
    pub(super) async fn subscribe(&mut self, topic: &str) -> Result<()> {
        let mut subscribe = Subscribe::new(topic, QoS::AtMostOnce);
        subscribe.pkid = 1;
        self.send(Packet::Subscribe(subscribe)).await?;
        loop {
            if let Packet::SubAck(answer) = self.next().await? {
                return if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    Err(DriverError::PermissionDenied(format!(
                        "{} refuses the subscription of '{topic}'",
                        self.what
                    )))
                } else {
                    Ok(())
                };
            }
        }
    }

    /// Publishes a message; the broker is to see to it that it arrives.
    pub(super) async fn publish(&mut self, topic: &str, text: &str) -> Result<()> {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, text);
        publish.pkid = 2;
        self.send(Packet::Publish(publish)).await
    }

    /// The next message under `topic` that was not there before the session.
    pub(super) async fn message(&mut self, topic: &str) -> Result<String> {
        loop {
            if let Packet::Publish(message) = self.next().await?
                && message.topic == topic
                && !message.retain
            {
                return Ok(String::from_utf8_lossy(&message.payload).into_owned());
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn end(mut self) {
        let goodbye = async {
            self.send(Packet::Disconnect).await?;
            self.stream.writer.finish().await
        };
        if let Err(error) = goodbye.await {
            tracing::debug!("{error}");
        }
    }

    async fn send(&mut self, packet: Packet) -> Result<()> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, LONGEST_PACKET).map_err(|error| self.broken(&error))?;
        self.stream.writer.write(bytes.freeze()).await
    }

    async fn next(&mut self) -> Result<Packet> {
        loop {
            match Packet::read(&mut self.received, LONGEST_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            let chunk = self.stream.reader.read().await?.ok_or_else(|| {
                DriverError::Disconnected(format!("{} has closed the connection", self.what))
            })?;
            self.received.extend_from_slice(&chunk);
        }
    }

    fn broken(&self, error: &Error) -> DriverError {
        DriverError::Device(format!("{} does not speak MQTT 3.1.1: {error}", self.what))
    }
}
