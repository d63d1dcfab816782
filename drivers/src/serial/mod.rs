//! Serial consoles.
//!
//! A port is opened when the first stream comes and closed when the last has gone. In between all
//! streams share it: each hears everything, and what they send goes out chunk by chunk. While there
//! is no stream the port is free for other programs, as with the reference.
//!
//! ```text
//! PySerial ── connect ──► Port ── ByteStream, ByteStream, ...     who hears and says what
//!                          │
//!                          ▼
//!                        Device                                   one open file descriptor
//!                          ▲
//! presence: is it plugged in?    pace: how fast may one type?
//! ```
//!
//! A device that is unplugged ends its streams with an error that names it. The next `connect` waits
//! a while for it to come back.

mod device;
mod pace;
mod port;
mod presence;
#[cfg(test)]
mod tests;
mod url;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use self::device::{Claim, Device, Line, ModemLine};
use self::pace::Pace;
use self::port::Port;
use self::url::Target;
use crate::driver::{Call, Driver, Method};
use crate::network::{Endpoint, dial};
use crate::registry::Build;
use crate::{ByteStream, DriverError, Result, blocking, number};

/// `jumpstarter_driver_pyserial.driver.PySerial`.
#[derive(Debug)]
pub struct PySerial {
    target: Target,
    line: Line,
    check_present: bool,
    reconnect_timeout: Duration,
    pace: Arc<Pace>,
    /// The port that streams share, for as long as there are any.
    active: Mutex<Weak<Port>>,
    /// Held while the port is being opened, so that two streams that come at once share it.
    opening: tokio::sync::Mutex<()>,
    /// Held by whoever has the device open, until it is closed, which can take a while.
    claim: Arc<tokio::sync::Mutex<()>>,
}

/// The `config:` block of a serial port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A device path, `socket://HOST:PORT` or `loop://`.
    url: Target,
    /// In bits per second. Always with 8 data bits, no parity, 1 stop bit and no flow control.
    #[serde(default = "default_baudrate", deserialize_with = "number::whole")]
    baudrate: NonZeroU32,
    /// Whether the device has to be there from the start, and not only when it is used.
    #[serde(default = "default_check_present")]
    check_present: bool,
    /// Characters a second that may be sent; not limited if none, zero or negative.
    #[serde(default)]
    cps: Option<f64>,
    /// Whether the modem lines stay as they are when the port is closed. Many boards reset when
    /// they drop.
    #[serde(default)]
    disable_hupcl: bool,
    /// How long `connect` waits for a device that is not there, in seconds. Not in the reference,
    /// which fails at once.
    #[serde(default = "default_reconnect_timeout", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

const fn default_baudrate() -> NonZeroU32 {
    NonZeroU32::new(115_200).expect("115200 is not zero")
}

const fn default_check_present() -> bool {
    true
}

const fn default_reconnect_timeout() -> Duration {
    Duration::from_secs(10)
}

/// How long setting a modem line may take; behind USB it is a transfer.
const MODEM_LIMIT: Duration = Duration::from_secs(5);

/// How long an earlier user's output may keep the port from being opened again. The kernel gives a
/// closing port 30 s to send it.
const CLAIM_LIMIT: Duration = Duration::from_secs(35);

/// How long `close` waits until the port is really closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

impl Build for PySerial {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self {
            target: config.url,
            line: Line { baudrate: config.baudrate, disable_hupcl: config.disable_hupcl },
            check_present: config.check_present,
            reconnect_timeout: config.reconnect_timeout,
            pace: Arc::new(Pace::new(config.cps)),
            active: Mutex::new(Weak::new()),
            opening: tokio::sync::Mutex::new(()),
            claim: Arc::default(),
        })
    }
}

#[async_trait]
impl Driver for PySerial {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_pyserial.client.PySerialClient"
    }

    fn category(&self) -> &'static str {
        "serial"
    }

    fn methods(&self) -> &'static [Method] {
        const {
            &[
                Method::bytes("connect"),
                Method::unary("close"),
                Method::unary("set_dtr"),
                Method::unary("set_rts"),
            ]
        }
    }

    /// Opens the port once, so that whoever gets the bench knows that it is there.
    async fn open(&self) -> Result<()> {
        if self.check_present {
            match &self.target {
                Target::Device(path) => drop(self.open_device(path, Duration::ZERO).await?),
                Target::Socket(endpoint) => drop(dial(endpoint).await?),
                Target::Loop => {}
            }
        }
        Ok(())
    }

    async fn close(&self) {
        self.end_streams().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "close" => {
                call.args.none()?;
                self.end_streams().await;
            }
            "set_dtr" => self.set(ModemLine::Dtr, &call).await?,
            "set_rts" => self.set(ModemLine::Rts, &call).await?,
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }

    async fn connect(&self, method: &str) -> Result<ByteStream> {
        if method != "connect" {
            return Err(DriverError::NoSuchMethod(method.to_owned()));
        }
        let stream = match &self.target {
            // A loop has no port: every stream is one of its own, and `close` leaves it alone.
            Target::Loop => ByteStream::loopback(),
            Target::Device(path) => self.port_at(path).await?.stream(),
            Target::Socket(endpoint) => self.port_behind(endpoint).await?.stream(),
        };
        Ok(pace::paced(stream, &self.pace))
    }
}

impl PySerial {
    /// The shared port of a device, opened if it isn't yet.
    async fn port_at(&self, path: &str) -> Result<Arc<Port>> {
        let _opening = self.opening.lock().await;
        if let Some(port) = self.active_port() {
            return Ok(port);
        }
        let device = self.open_device(path, self.reconnect_timeout).await?;
        tracing::info!("opened {path} at {} baud", self.line.baudrate);
        Ok(self.activate(path, device))
    }

    /// The shared connection to a serial port server, made if it isn't yet.
    async fn port_behind(&self, endpoint: &Endpoint) -> Result<Arc<Port>> {
        let _opening = self.opening.lock().await;
        if let Some(port) = self.active_port() {
            return Ok(port);
        }
        let name = format!("socket://{endpoint}");
        let device = Device::socket(dial(endpoint).await?)
            .map_err(|error| DriverError::io(format!("connect to {name}"), error))?;
        tracing::info!("connected to {name}");
        Ok(self.activate(&name, device))
    }

    /// Opens the device, once nobody else of this exporter has it open. If it is not there, waits
    /// for it as long as `patience` says.
    async fn open_device(&self, path: &str, patience: Duration) -> Result<Device> {
        let claim = timeout(CLAIM_LIMIT, Arc::clone(&self.claim).lock_owned()).await;
        let claim: Claim = Arc::new(claim.map_err(|_| {
            DriverError::Busy(format!("open {path}: what was sent before has not left it yet"))
        })?);
        presence::open(path, self.line, &claim, patience).await
    }

    fn activate(&self, name: &str, device: Device) -> Arc<Port> {
        let port = Port::new(name, device);
        *self.lock_active() = Arc::downgrade(&port);
        port
    }

    fn active_port(&self) -> Option<Arc<Port>> {
        self.lock_active().upgrade().filter(|port| port.is_open())
    }

    fn lock_active(&self) -> std::sync::MutexGuard<'_, Weak<Port>> {
        self.active.lock().expect("because nothing panics while it holds the port")
    }

    /// Ends every stream and waits, not too long, until the device is closed.
    async fn end_streams(&self) {
        if let Some(port) = self.active_port() {
            port.close();
        }
        // Whoever is just opening the port has the claim, too, and may wait long for the device.
        let Ok(_opening) = self.opening.try_lock() else { return };
        if timeout(CLOSE_LIMIT, self.claim.lock()).await.is_err() {
            tracing::warn!("{} is still sending; it is closed when it has", self.target);
        }
    }

    /// Sets a modem line to the call's argument, opening the port for as long as it takes.
    async fn set(&self, line: ModemLine, call: &Call<'_>) -> Result<()> {
        call.args.at_most(1)?;
        let level: bool = call.args.required(0, "value")?;
        let path = match &self.target {
            Target::Device(path) => path,
            Target::Socket(_) | Target::Loop => {
                tracing::info!("{} has no {line}; nothing is set", self.target);
                return Ok(());
            }
        };
        let port = self.port_at(path).await?;
        let (path, what) = (path.clone(), format!("set {line} of {path}"));
        blocking::run(&what, MODEM_LIMIT, move || match port.device() {
            Some(device) => device.set_modem_line(line, level, &path),
            None => Err(DriverError::Disconnected(format!("{path} was closed"))),
        })
        .await
    }
}
