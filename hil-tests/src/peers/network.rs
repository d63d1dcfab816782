//! Servers for the network drivers to connect to.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::patiently;

/// A TCP server that reads a connection up to its end and only then answers, with the same bytes in
/// reverse: an answer proves that the client's half of the connection was closed and the other half
/// was not.
#[derive(Debug)]
pub(crate) struct TcpReverser {
    port: u16,
    ended: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

impl TcpReverser {
    pub(crate) async fn start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("binding a TCP server")?;
        let port = listener.local_addr()?.port();
        let (sender, ended) = watch::channel(0);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let sender = sender.clone();
                connections.spawn(async move {
                    let (reader, writer) = connection.into_split();
                    reverse(reader, writer, || sender.send_modify(|count| *count += 1)).await;
                });
            }
        });
        Ok(Self { port, ended, _server: server })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits until `count` connections have been closed by their clients.
    pub(crate) async fn has_seen_the_end_of(&mut self, count: usize) -> Result<()> {
        let closed = self.ended.wait_for(|&ended| ended >= count);
        patiently("the connections to be closed", closed).await?.context("the server is gone")?;
        Ok(())
    }
}

/// The same on a Unix socket.
#[derive(Debug)]
pub(crate) struct UnixReverser {
    _server: JoinSet<()>,
}

impl UnixReverser {
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).context("binding a Unix server")?;
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (reader, writer) = connection.into_split();
                connections.spawn(reverse(reader, writer, || ()));
            }
        });
        Ok(Self { _server: server })
    }
}

async fn reverse(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    ended: impl FnOnce(),
) {
    let mut content = Vec::new();
    // A connection that breaks has ended, too; whether the content was right is for the client to
    // see.
    reader.read_to_end(&mut content).await.ok();
    ended();
    content.reverse();
    writer.write_all(&content).await.ok();
}

/// A UDP server that sends every datagram back in reverse.
#[derive(Debug)]
pub(crate) struct UdpReverser {
    port: u16,
    _server: JoinSet<()>,
}

impl UdpReverser {
    pub(crate) async fn start() -> Result<Self> {
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("binding a UDP server")?;
        let port = socket.local_addr()?.port();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut datagram = vec![0; 65536];
            while let Ok((length, sender)) = socket.recv_from(&mut datagram).await {
                datagram[..length].reverse();
                socket.send_to(&datagram[..length], sender).await.ok();
            }
        });
        Ok(Self { port, _server: server })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}
