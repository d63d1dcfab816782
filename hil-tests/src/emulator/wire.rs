//! A wire to a device on the network, which can carry nonsense, a part of what the device says, or
//! nothing.
//!
//! The device at its far end is none the wiser, as with a cable that was half pulled out.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::device::Mood;

/// The longest datagram, in bytes.
const DATAGRAM: usize = 65_536;

/// A wire. Dropping it cuts it.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// To a server of TCP.
    pub(crate) async fn tcp(device: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a wire")?;
        let address = listener.local_addr()?;
        let (mood, moods) = watch::channel(Mood::Well);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, device, moods.clone()));
            }
        });
        Ok(Self { address, mood, _tasks: tasks })
    }

    /// To a server of UDP, for one client at a time.
    pub(crate) async fn udp(device: SocketAddr) -> Result<Self> {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a wire")?;
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a wire")?;
        far.connect(device).await.context("a wire")?;
        let address = near.local_addr()?;
        let (mood, moods) = watch::channel(Mood::Well);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It ends when the wire is cut.
            carry_datagrams(near, far, moods).await.ok();
        });
        Ok(Self { address, mood, _tasks: tasks })
    }

    /// Its near end.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the device seems to answer like this.
    pub(crate) fn answer(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

/// Carries a connection until one of both hangs up, or the wire breaks it off.
async fn carry(mut client: TcpStream, device: SocketAddr, mut mood: watch::Receiver<Mood>) {
    let Ok(mut device) = TcpStream::connect(device).await else { return };
    let (mut asks, mut hears) = client.split();
    let (mut says, mut told) = device.split();
    let upwards = async {
        tokio::io::copy(&mut asks, &mut told).await.ok();
        told.shutdown().await.ok();
    };
    let downwards = async {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = says.read(&mut bytes).await {
            let mut said = bytes[..length].to_vec();
            let now = *mood.borrow_and_update();
            now.spoil(&mut said);
            hears.write_all(&said).await.ok();
            match now {
                Mood::Well | Mood::Garbage => {}
                // What is broken off stays so.
                Mood::HalfReport => break,
                Mood::Silent => {
                    mood.wait_for(|mood| *mood != Mood::Silent).await.ok();
                    break;
                }
            }
        }
    };
    // A client that has said all may still listen.
    let both = async { tokio::join!(upwards, std::future::pending::<()>()) };
    tokio::select! {
        _ = both => {}
        () = downwards => {}
    }
}

async fn carry_datagrams(
    near: UdpSocket,
    far: UdpSocket,
    mood: watch::Receiver<Mood>,
) -> std::io::Result<()> {
    let mut client = None;
    let (mut asked, mut said) = (vec![0; DATAGRAM], vec![0; DATAGRAM]);
    loop {
        tokio::select! {
            received = near.recv_from(&mut asked) => {
                let (length, from) = received?;
                client = Some(from);
                far.send(&asked[..length]).await?;
            }
            received = far.recv(&mut said) => {
                let mut answer = said[..received?].to_vec();
                let now = *mood.borrow();
                now.spoil(&mut answer);
                if let (Some(client), false) = (client, now == Mood::Silent) {
                    near.send_to(&answer, client).await?;
                }
            }
        }
    }
}
