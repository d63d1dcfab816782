//! A network of one process, whose connections can be cut and silenced.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::{mpsc, watch};
use tonic::transport::server::Connected;

use super::super::dialer::{Bytes, Dialer};
use super::super::target::Target;

/// What is wrong with the way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Nobody answers, and every connection breaks.
    Refused,
    /// Nothing comes through any more, and nobody says so.
    Silent,
}

/// The network, by the names of its hosts. Clones are the same.
#[derive(Clone, Default)]
pub(in super::super) struct Net(Arc<Mutex<HashMap<String, Host>>>);

struct Host {
    incoming: mpsc::UnboundedSender<io::Result<Wire>>,
    fault: watch::Sender<Fault>,
}

impl Net {
    /// A host of this name; its connections.
    pub(super) fn host(&self, name: &str) -> mpsc::UnboundedReceiver<io::Result<Wire>> {
        let (incoming, connections) = mpsc::unbounded_channel();
        let host = Host { incoming, fault: watch::Sender::default() };
        self.0.lock().unwrap().insert(name.to_owned(), host);
        connections
    }

    /// From now on, this is wrong with the way to a host. Connections that were there before share it;
    /// those that have broken stay broken.
    pub(in super::super) fn has(&self, name: &str, fault: Fault) {
        self.0.lock().unwrap()[name].fault.send_replace(fault);
    }

    pub(super) fn connect(&self, name: &str) -> io::Result<Wire> {
        let hosts = self.0.lock().unwrap();
        let host = hosts.get(name).ok_or_else(|| io::Error::other("no such host"))?;
        let fault = host.fault.subscribe();
        if *fault.borrow() == Fault::Refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64 * 1024);
        host.incoming
            .send(Ok(Wire::new(far, fault.clone())))
            .map_err(|_| io::ErrorKind::NotConnected)?;
        Ok(Wire::new(near, fault))
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

#[async_trait::async_trait]
impl Dialer for Net {
    async fn dial(&self, target: &Target) -> io::Result<Box<dyn Bytes>> {
        Ok(Box::new(self.connect(&target.host)?))
    }
}

/// One end of a connection.
pub(super) struct Wire {
    stream: DuplexStream,
    fault: watch::Receiver<Fault>,
    /// Wakes up whoever waits when the fault changes.
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_broken: bool,
}

impl Wire {
    fn new(stream: DuplexStream, fault: watch::Receiver<Fault>) -> Self {
        let changed = Box::pin(change(fault.clone()));
        Self { stream, fault, changed, is_broken: false }
    }

    /// What is wrong now; whoever is told to wait is woken when that changes.
    fn state(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.changed.as_mut().poll(context).is_ready() {
            self.changed = Box::pin(change(self.fault.clone()));
            if *self.fault.borrow() == Fault::Refused {
                self.is_broken = true;
            }
        }
        match *self.fault.borrow() {
            _ if self.is_broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Fault::None => Poll::Ready(Ok(())),
            Fault::Refused => {
                self.is_broken = true;
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Fault::Silent => Poll::Pending,
        }
    }
}

async fn change(mut fault: watch::Receiver<Fault>) {
    fault.mark_unchanged();
    if fault.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.state(context))?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.state(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.state(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
