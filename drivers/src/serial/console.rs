//! A serial port as it is configured, and the open port that its streams share, if there are any.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::device::{Claim, Device, Line, ModemLine};
use super::port::{Port, State};
use super::url::Target;
use super::{presence, rfc2217};
use crate::network::dial;
use crate::{ByteStream, DriverError, Result};

/// How long an earlier user's output may keep the port from being opened again. The kernel gives a
/// closing port 30 s to send it.
const CLAIM_LIMIT: Duration = Duration::from_secs(35);

/// How long the end of all streams waits until the port is really closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What all streams of a serial port have in common.
#[derive(Debug)]
pub(super) struct Console {
    target: Target,
    line: Line,
    reconnect_timeout: Duration,
    /// The port that streams share, for as long as there are any.
    active: Mutex<Weak<Port>>,
    /// Held while the port is being opened, so that two streams that come at once share it.
    opening: tokio::sync::Mutex<()>,
    /// Held by whoever has the device open, until it is closed, which can take a while.
    claim: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled, and replaced, when all streams are to end.
    session: Mutex<CancellationToken>,
    /// Whether the port stays open without streams.
    is_kept_open: AtomicBool,
    tasks: TaskTracker,
}

impl Console {
    pub(super) fn new(target: Target, line: Line, reconnect_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            target,
            line,
            reconnect_timeout,
            active: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            claim: Arc::default(),
            session: Mutex::default(),
            is_kept_open: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        })
    }

    /// Where the port is.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The tasks that work for the port.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Makes sure that the port can be opened now.
    pub(super) async fn check(&self) -> Result<()> {
        let _opening = self.opening.lock().await;
        if self.active_port().is_none() && !matches!(self.target, Target::Loop) {
            drop(self.open(Duration::ZERO).await?);
        }
        Ok(())
    }

    /// Another stream.
    pub(super) async fn stream(&self) -> Result<ByteStream> {
        if matches!(self.target, Target::Loop) {
            // A loop has no port: every stream is one of its own, and ends by itself.
            return Ok(ByteStream::loopback());
        }
        Ok(self.port(self.reconnect_timeout).await?.stream(self.session()))
    }

    /// The shared port, opened if it isn't yet. If its device is not there, waits for it as long as
    /// `patience` says.
    pub(super) async fn port(&self, patience: Duration) -> Result<Arc<Port>> {
        let _opening = self.opening.lock().await;
        if let Some(port) = self.active_port() {
            return Ok(port);
        }
        let device = self.open(patience).await?;
        Ok(self.activate(State::Open(Arc::new(device))))
    }

    /// The shared port for another program: closed meanwhile, and lent. None if it is lent already.
    pub(super) async fn lend(&self) -> Option<Arc<Port>> {
        let _opening = self.opening.lock().await;
        match self.active_port() {
            Some(port) => port.lend().then_some(port),
            None => Some(self.activate(State::Lent)),
        }
    }

    /// Opens a port again that was lent, if anybody still wants it.
    pub(super) async fn take_back(&self, port: Arc<Port>) {
        let _opening = self.opening.lock().await;
        // The lock makes sure that nobody joins it meanwhile.
        if Arc::strong_count(&port) == 1 || !port.is_open() {
            return port.close();
        }
        match self.open(self.reconnect_timeout).await {
            Ok(device) => {
                tracing::info!("{} was given back", self.target);
                port.resume(device);
            }
            Err(error) => {
                port.lose(format!("{} was lent and did not come back: {error}", self.target));
            }
        }
    }

    /// The right to open the device, once nobody else of this exporter has it open.
    pub(super) async fn claim(&self) -> Result<Claim> {
        match timeout(CLAIM_LIMIT, Arc::clone(&self.claim).lock_owned()).await {
            Ok(claim) => Ok(Arc::new(claim)),
            Err(_) => Err(DriverError::Busy(format!(
                "open {}: what was sent before has not left it yet",
                self.target
            ))),
        }
    }

    async fn open(&self, patience: Duration) -> Result<Device> {
        let failed = |error| DriverError::io(format!("connect to {}", self.target), error);
        let baudrate = self.line.baudrate;
        let device = match &self.target {
            Target::Device(path) => {
                presence::open(path, self.line, &self.claim().await?, patience).await?
            }
            Target::Socket(endpoint) => {
                let claim = self.claim().await?;
                Device::socket(dial(endpoint).await?, claim).map_err(failed)?
            }
            Target::Rfc2217(target) => {
                let claim = self.claim().await?;
                let connected = rfc2217::connect(target, baudrate, claim, &self.tasks).await?;
                Device::remote(connected).map_err(failed)?
            }
            Target::Loop => return Err(self.no_device()),
        };
        tracing::info!("opened {} at {baudrate} baud", self.target);
        Ok(device)
    }

    /// The error for what a loop can't do.
    pub(super) fn no_device(&self) -> DriverError {
        DriverError::Unsupported(format!("{} has no device", self.target))
    }

    fn activate(&self, state: State) -> Arc<Port> {
        let port = Port::new(&self.target.to_string(), state, &self.tasks);
        *self.lock_active() = Arc::downgrade(&port);
        port
    }

    fn active_port(&self) -> Option<Arc<Port>> {
        self.lock_active().upgrade().filter(|port| port.is_open())
    }

    /// What streams that begin now end with.
    pub(super) fn session(&self) -> CancellationToken {
        self.lock_session().clone()
    }

    fn lock_active(&self) -> MutexGuard<'_, Weak<Port>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_session(&self) -> MutexGuard<'_, CancellationToken> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, somebody listens to the port all the time.
    pub(super) fn keep_open(&self) {
        self.is_kept_open.store(true, Ordering::Relaxed);
    }

    /// Ends every stream, and if nobody else wants the port, waits, not too long, until the device
    /// is closed.
    pub(super) async fn end_streams(&self) {
        std::mem::take(&mut *self.lock_session()).cancel();
        let port = self.active_port();
        if self.is_kept_open.load(Ordering::Relaxed) {
            if let Some(port) = port {
                port.turns().take_over();
            }
            return;
        }
        if let Some(port) = port {
            port.close();
        }
        // Whoever is just opening the port has the claim, too, and may wait long for the device.
        let Ok(_opening) = self.opening.try_lock() else { return };
        if timeout(CLOSE_LIMIT, self.claim.lock()).await.is_err() {
            tracing::warn!("{} is still in use; it is closed when it is not", self.target);
        }
    }

    /// Sets a modem line, opening the port for as long as it takes.
    pub(super) async fn set(&self, line: ModemLine, level: bool) -> Result<()> {
        match &self.target {
            Target::Device(_) | Target::Rfc2217(_) => {}
            Target::Socket(_) | Target::Loop => {
                tracing::info!("{} has no {line}; nothing is set", self.target);
                return Ok(());
            }
        }
        let name = self.target.to_string();
        let port = self.port(self.reconnect_timeout).await?;
        match port.device() {
            Some(device) => device.set_modem_line(line, level, &name).await,
            None if port.is_open() => Err(DriverError::Busy(format!("{name} is lent"))),
            None => Err(DriverError::Disconnected(format!("{name} was closed"))),
        }
    }

    /// For how long a stream has been writing; none if no stream is.
    pub(super) fn writing_for(&self) -> Option<Duration> {
        self.active_port().and_then(|port| port.turns().busy_for())
    }

    /// Lets another stream write than the one that does.
    pub(super) fn take_over(&self) {
        if let Some(port) = self.active_port() {
            port.turns().take_over();
        }
    }
}
