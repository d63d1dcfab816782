//! A plug by MQTT, and the broker that it shares with one client at a time.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Codec, ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, SubscribeReasonCode,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::codec::Framed;

/// Its topics.
const COMMAND: &str = "cmnd/plug/POWER";
const STATUS: &str = "stat/plug/POWER";

/// Starts both; returns where the broker is. `relay` is whether the plug is on.
pub(crate) async fn tasmota(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a broker")?;
    let address = listener.local_addr()?;
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let relay = relay.clone();
            clients.spawn(async move { serve(client, &relay).await });
        }
    });
    Ok(address)
}

async fn serve(client: TcpStream, relay: &watch::Sender<bool>) {
    let codec = Codec { max_incoming_size: 1024, max_outgoing_size: 1024 };
    let mut client = Framed::new(client, codec);
    while let Some(Ok(packet)) = client.next().await {
        let Some(answers) = answer(packet, relay) else { return };
        for answer in answers {
            if client.send(answer).await.is_err() {
                return;
            }
        }
    }
}

/// What the client hears; none ends the connection.
fn answer(packet: Packet, relay: &watch::Sender<bool>) -> Option<Vec<Packet>> {
    match packet {
        Packet::Connect(_) => {
            Some(vec![Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))])
        }
        Packet::Subscribe(subscribe) => {
            let known = |filter: &rumqttc::mqttbytes::v4::SubscribeFilter| match &*filter.path {
                STATUS => SubscribeReasonCode::Success(QoS::AtMostOnce),
                _ => SubscribeReasonCode::Failure,
            };
            let codes = subscribe.filters.iter().map(known).collect();
            Some(vec![Packet::SubAck(SubAck::new(subscribe.pkid, codes))])
        }
        Packet::Publish(command) => {
            let acknowledged =
                (command.qos != QoS::AtMostOnce).then(|| Packet::PubAck(PubAck::new(command.pkid)));
            let status = (command.topic == COMMAND).then(|| obey(&command.payload, relay));
            let status =
                status.map(|text| Packet::Publish(Publish::new(STATUS, QoS::AtMostOnce, text)));
            Some(acknowledged.into_iter().chain(status).collect())
        }
        Packet::PingReq => Some(vec![Packet::PingResp]),
        Packet::Disconnect
        | Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingResp => None,
    }
}

/// What the plug does for a command, and publishes: anything but a position is a question.
fn obey(command: &[u8], relay: &watch::Sender<bool>) -> &'static str {
    match command {
        b"ON" => {
            relay.send_replace(true);
        }
        b"OFF" => {
            relay.send_replace(false);
        }
        _ => {}
    }
    if *relay.borrow() { "ON" } else { "OFF" }
}
