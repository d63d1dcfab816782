//! The driver with a broker in between, and a plug on the other side of it.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Codec, ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, duplex, split};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_util::codec::Framed;

use super::*;
use crate::power::Power as _;
use crate::power::switch::Switched;
use crate::registry::parse;

/// A plug that obeys its topics, unless it is offline.
#[derive(Debug, Default)]
struct Plug {
    on: bool,
    offline: bool,
}

impl Plug {
    /// What it publishes when it gets a command.
    fn obey(&mut self, command: &[u8]) -> Option<&'static str> {
        if self.offline {
            return None;
        }
        match command {
            b"ON" => self.on = true,
            b"OFF" => self.on = false,
            _ => {}
        }
        Some(if self.on { "ON" } else { "OFF" })
    }
}

/// A broker with one client at a time: it knows who may come in, and keeps the last status.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, plug: Arc<Mutex<Plug>>) {
    let codec = Codec { max_incoming_size: 1024, max_outgoing_size: 1024 };
    let mut client = Framed::new(stream, codec);
    while let Some(Ok(packet)) = client.next().await {
        let answers = match packet.clone() {
            Packet::Connect(hello) => {
                let allowed = hello.login.is_some_and(|login| login.validate("me", "pw"));
                let code = if allowed {
                    ConnectReturnCode::Success
                } else {
                    ConnectReturnCode::BadUserNamePassword
                };
                vec![Packet::ConnAck(ConnAck::new(code, false))]
            }
            Packet::Subscribe(subscribe) => {
                assert_eq!(subscribe.filters[0].path, "stat/plug/POWER");
                let code = SubscribeReasonCode::Success(QoS::AtMostOnce);
                // What was published long ago, and is the opposite of what is true by now.
                let stale = if plug.lock().unwrap().on { "OFF" } else { "ON" };
                let mut kept = Publish::new("stat/plug/POWER", QoS::AtMostOnce, stale);
                kept.retain = true;
                vec![Packet::SubAck(SubAck::new(subscribe.pkid, vec![code])), Packet::Publish(kept)]
            }
            Packet::Publish(command) => {
                assert_eq!(command.topic, "cmnd/plug/POWER");
                let status = plug.lock().unwrap().obey(&command.payload);
                let publish =
                    status.map(|text| Publish::new("stat/plug/POWER", QoS::AtMostOnce, text));
                let acknowledged = Packet::PubAck(PubAck::new(command.pkid));
                [acknowledged].into_iter().chain(publish.map(Packet::Publish)).collect()
            }
            Packet::Disconnect => return,
            Packet::ConnAck(_)
            | Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp => panic!("unexpected: {packet:?}"),
        };
        for answer in answers {
            // The client may have seen enough.
            client.send(answer).await.ok();
        }
    }
}

struct Bench {
    plug: Arc<Mutex<Plug>>,
    port: u16,
    _broker: JoinSet<()>,
}

async fn bench() -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plug = Arc::new(Mutex::new(Plug::default()));
    let shared = Arc::clone(&plug);
    let mut broker = JoinSet::new();
    broker.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, Arc::clone(&shared)).await;
        }
    });
    Bench { plug, port, _broker: broker }
}

fn power(settings: Value) -> Switched<TasmotaPower> {
    let mut config = json!({
        "host": "127.0.0.1", "tls": false, "username": "me", "password": "pw",
        "cmnd_topic": "cmnd/plug/POWER", "stat_topic": "stat/plug/POWER",
    });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    Switched::new(TasmotaPower::build(parse(config).unwrap()).unwrap())
}

#[tokio::test]
async fn a_plug_is_switched_and_confirms_it() {
    let bench = bench().await;
    let power = power(json!({"port": bench.port}));
    power.on().await.unwrap();
    assert!(bench.plug.lock().unwrap().on);
    assert_eq!(power.status().await.unwrap(), State::On);
    power.off().await.unwrap();
    assert_eq!(power.status().await.unwrap(), State::Off);
}

#[tokio::test]
async fn opening_and_closing_switch_nothing() {
    let bench = bench().await;
    bench.plug.lock().unwrap().on = true;
    let power = power(json!({"port": bench.port}));
    power.open().await.unwrap();
    power.close().await;
    assert!(bench.plug.lock().unwrap().on);
}

#[tokio::test]
async fn a_plug_that_is_offline_is_noticed() {
    let bench = bench().await;
    bench.plug.lock().unwrap().offline = true;
    let power = power(json!({"port": bench.port, "timeout": 0.2}));
    let error = power.on().await.unwrap_err();
    assert!(matches!(error, DriverError::Timeout(_)));
    assert!(error.to_string().contains("'ON' was not confirmed in stat/plug/POWER"), "{error}");
}

#[tokio::test]
async fn a_refused_user_is_told_so() {
    let bench = bench().await;
    let power = power(json!({"port": bench.port, "password": "hunter2"}));
    let error = power.on().await.unwrap_err();
    assert!(matches!(error, DriverError::PermissionDenied(_)), "{error}");
    assert!(!format!("{power:?}{error}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"\0\0\0\0").await.unwrap();
        peer
    };
    let power = power(json!({"port": port}));
    let (error, _peer) = tokio::join!(power.on(), answer);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("does not speak MQTT 3.1.1"), "{error}");
}

#[tokio::test]
async fn by_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mqtt.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let plug = Arc::new(Mutex::new(Plug::default()));
    let broker = async { serve(listener.accept().await.unwrap().0, Arc::clone(&plug)).await };
    let power = power(json!({"host": path, "transport": "unix"}));
    let (switched, ()) = tokio::join!(power.on(), broker);
    switched.unwrap();
    assert!(plug.lock().unwrap().on);
}

#[tokio::test]
async fn by_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plug = Arc::new(Mutex::new(Plug::default()));
    let broker = async {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the library's callback is like that")]
        let check = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/mqtt");
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap();
        let (near, far) = duplex(1024);
        let (mut sink, mut messages) = socket.split();
        let (mut reader, mut writer) = split(far);
        let upwards = async {
            while let Some(Ok(Message::Binary(bytes))) = messages.next().await {
                tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await.ok();
            }
        };
        let downwards = async {
            let mut buffer = BytesMut::new();
            while let Ok(1..) = tokio::io::AsyncReadExt::read_buf(&mut reader, &mut buffer).await {
                sink.send(Message::Binary(buffer.split().freeze())).await.ok();
            }
        };
        tokio::join!(serve(near, Arc::clone(&plug)), upwards, downwards);
    };
    let power = power(json!({"port": port, "transport": "websockets"}));
    let (switched, ()) = tokio::join!(power.on(), broker);
    switched.unwrap();
    assert!(plug.lock().unwrap().on);
}
