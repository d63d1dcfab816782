//! A client of serial port servers that speak RFC 2217: ser2net, conserver, most port servers.
//!
//! ```text
//! Port ◄──── a pair of sockets ────► Carrier ◄──── TCP ────► the server
//!                                      │
//!                                   Session     what is agreed with the server
//!                                      │
//!                                   Decoder     telnet's framing
//! ```
//!
//! A [`Carrier`] stands between the port, to which the line is a file descriptor like any other, and
//! the server. It ends with either of them; a port whose server has gone finds its line closed.

#[cfg(test)]
pub(super) mod fake;
mod session;
mod telnet;
#[cfg(test)]
mod tests;

use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

pub(crate) use self::session::Control;
use self::session::{Refusal, Session};
use super::device::Claim;
use super::url::Rfc2217;
use crate::network::dial;
use crate::{DriverError, Result};

/// How long what was sent before the end may take to leave, if the server doesn't take it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What is read at once, in bytes.
const PIECE: usize = 8 << 10;

/// A connection to a port that is set as it was asked for.
#[derive(Debug)]
pub(super) struct Connected {
    /// The port's data, in both directions.
    pub(super) data: OwnedFd,
    /// How its modem lines are set.
    pub(super) remote: Remote,
}

/// The modem lines of a port behind a server.
#[derive(Debug)]
pub(super) struct Remote {
    orders: mpsc::Sender<Order>,
    answer_within: Duration,
}

#[derive(Debug)]
struct Order {
    control: Control,
    done: oneshot::Sender<Result<(), Refusal>>,
}

/// Connects to the port of a server. The claim is given back when the connection is closed.
///
/// # Errors
///
/// If there is no such server, or it can't do what is asked of it, or doesn't answer.
pub(super) async fn connect(
    target: &Rfc2217,
    baudrate: NonZeroU32,
    claim: Claim,
    tasks: &TaskTracker,
) -> Result<Connected> {
    let mut server = dial(&target.endpoint).await?;
    let mut session = Session::new(baudrate, !target.ignore_control);
    let mut data = BytesMut::new();
    let agreement = timeout(target.answer_within, agree(&mut server, &mut session, &mut data));
    let failed = |error: io::Error| Err(DriverError::io(format!("connect to {target}"), error));
    match agreement.await {
        Ok(Ok(())) => {}
        Ok(Err(End::Refused(refusal))) => {
            return Err(DriverError::Unsupported(format!("connect to {target}: {refusal}")));
        }
        Ok(Err(End::Failed(error))) => return failed(error),
        Ok(Err(End::Server | End::Port)) => {
            return Err(DriverError::Disconnected(format!(
                "connect to {target}: the server hung up; is the port in use or not there?"
            )));
        }
        Err(_) => {
            let (limit, awaited) = (target.answer_within, session.awaited());
            return Err(DriverError::Timeout(format!(
                "connect to {target}: the server still owes {awaited} after {limit:?}; if it serves \
                 plain TCP, write socket://"
            )));
        }
    }
    let carried = || {
        let (near, far) = UnixStream::pair()?;
        Ok((OwnedFd::from(near.into_std()?), far))
    };
    let (near, far) = match carried() {
        Ok(pair) => pair,
        Err(error) => return failed(error),
    };
    let (orders, ordered) = mpsc::channel(1);
    let (from_port, to_port) = far.into_split();
    let carrier = Carrier {
        name: target.to_string(),
        server,
        session,
        from_port,
        to_port,
        ordered,
        data,
        said: BytesMut::with_capacity(PIECE),
        typed: BytesMut::with_capacity(PIECE),
    };
    tasks.spawn(async move {
        carrier.run().await;
        drop(claim);
    });
    Ok(Connected { data: near, remote: Remote { orders, answer_within: target.answer_within } })
}

/// Speaks with a server until the port is ready.
async fn agree(
    server: &mut TcpStream,
    session: &mut Session,
    data: &mut BytesMut,
) -> Result<(), End> {
    let mut input = BytesMut::with_capacity(PIECE);
    while !session.is_ready() {
        while session.output().has_remaining() {
            server.write_buf(session.output()).await?;
        }
        input.clear();
        if server.read_buf(&mut input).await? == 0 {
            return Err(End::Server);
        }
        session.receive(&input, data)?;
    }
    Ok(())
}

impl Remote {
    /// Sets a modem line. `what` says in errors what was being done.
    pub(super) async fn set(&self, control: Control, what: &str) -> Result<()> {
        let (done, answered) = oneshot::channel();
        let ask = async {
            self.orders.send(Order { control, done }).await.ok()?;
            answered.await.ok()
        };
        match timeout(self.answer_within, ask).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(refusal))) => Err(DriverError::Unsupported(format!("{what}: {refusal}"))),
            Ok(None) => {
                Err(DriverError::Disconnected(format!("{what}: the connection was closed")))
            }
            Err(_) => Err(DriverError::Timeout(format!(
                "{what}: the server does not answer within {:?}",
                self.answer_within
            ))),
        }
    }
}

/// Why a connection is over.
#[derive(Debug)]
enum End {
    /// The server hung up.
    Server,
    /// The port was closed.
    Port,
    Refused(Refusal),
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Carries data between a port and its server.
#[derive(Debug)]
struct Carrier {
    name: String,
    server: TcpStream,
    session: Session,
    from_port: OwnedReadHalf,
    to_port: OwnedWriteHalf,
    ordered: mpsc::Receiver<Order>,
    /// What the server has sent and the port has not taken.
    data: BytesMut,
    /// What was just read from the server, and from the port.
    said: BytesMut,
    typed: BytesMut,
}

impl Carrier {
    async fn run(mut self) {
        match self.carry().await {
            End::Server => {}
            End::Port => drop(timeout(LAST_WORDS, self.finish()).await),
            End::Refused(refusal) => tracing::warn!("{}: {refusal}", self.name),
            End::Failed(error) => tracing::warn!("{}: {error}", self.name),
        }
    }

    async fn carry(&mut self) -> End {
        let mut waiting = Vec::new();
        loop {
            if let Err(end) = self.step(&mut waiting).await {
                return end;
            }
            if !waiting.is_empty()
                && let Some(answer) = self.session.answer()
            {
                for done in waiting.drain(..) {
                    // Whoever asked may have given up.
                    drop(oneshot::Sender::send(done, answer.clone()));
                }
            }
        }
    }

    /// Waits for one thing to happen, and takes care of it.
    async fn step(
        &mut self,
        waiting: &mut Vec<oneshot::Sender<Result<(), Refusal>>>,
    ) -> Result<(), End> {
        let Self { server, session, from_port, to_port, ordered, data, said, typed, .. } = self;
        said.clear();
        typed.clear();
        let (takes_data, unsent) = (session.takes_data(), session.output().has_remaining());
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            // What the port has not taken yet holds the server up, and nothing else.
            length = from_server.read_buf(said), if data.is_empty() => match length? {
                0 => return Err(End::Server),
                _ => session.receive(said, data)?,
            },
            written = to_server.write_buf(session.output()), if unsent => drop(written?),
            written = to_port.write_buf(data), if !data.is_empty() => {
                written.map_err(|_| End::Port)?;
            }
            length = from_port.read_buf(typed), if takes_data && !unsent => match length {
                Ok(0) | Err(_) => return Err(End::Port),
                Ok(_) => session.send(typed),
            },
            order = ordered.recv() => {
                let order = order.ok_or(End::Port)?;
                session.control(order.control);
                waiting.push(order.done);
            }
        }
        Ok(())
    }

    /// Sends what the port had sent before it was closed.
    async fn finish(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + LAST_WORDS;
        let mut rest = Vec::new();
        // The port is closed, so this ends.
        drop(timeout_at(deadline, self.from_port.read_to_end(&mut rest)).await);
        self.session.send(&rest);
        self.server.write_all_buf(self.session.output()).await?;
        self.server.shutdown().await
    }
}
