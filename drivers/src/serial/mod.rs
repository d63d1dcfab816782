//! Serial consoles.
//!
//! A port is opened when the first stream comes and closed when the last has gone. In between all
//! streams share it: each hears everything, and one at a time writes. While there is no stream the
//! port is free for other programs, as with the reference.
//!
//! ```text
//! PySerial ── connect ──► Console ──► Port ── ByteStream, ByteStream, ...   who hears and says what
//!                            │         │      turn: who may write; queue: what is yet to be heard
//!                          loan        ▼
//!                                    Device                                 one file descriptor
//!                                      ▲
//! presence: is it plugged in?    pace: how fast may one type?    rfc2217: is it behind a server?
//! ```
//!
//! A device that is unplugged ends its streams with an error that names it. The next `connect` waits
//! a while for it to come back. A flasher that needs the device for itself borrows it;
//! streams wait until it is given back. A port that is recorded is open all the time.

mod console;
mod device;
mod holder;
mod loan;
mod pace;
mod port;
mod presence;
mod queue;
mod record;
mod rfc2217;
#[cfg(test)]
mod tests;
mod turn;
mod url;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use self::console::Console;
use self::device::{Line, ModemLine};
use self::pace::Pace;
use self::record::{Recording, Settings, Since};
use self::url::Target;
use crate::driver::{Call, Driver, Items, Method};
use crate::recording::Recorder;
use crate::registry::Build;
use crate::{ByteStream, DriverError, Result, number};

/// `jumpstarter_driver_pyserial.driver.PySerial`.
#[derive(Debug)]
pub struct PySerial {
    console: Arc<Console>,
    check_present: bool,
    pace: Arc<Pace>,
    recording: Option<Recording>,
}

/// The `config:` block of a serial port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A device path, `rfc2217://HOST:PORT`, `socket://HOST:PORT` or `loop://`.
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
    /// Whether all that the port says is kept on disk: `true`, or how much of it, as `{size: 16M}`.
    /// Not in the reference.
    #[serde(default, deserialize_with = "record::settings")]
    record: Option<Settings>,
}

/// What clients say about [`Recording::log`].
const LOG_HELP: &str = "Print what the serial port has said.

The exporter records the port all the time. A lease can read what was said during the
lease, whether or not anybody listened.

Examples:

  j serial log                         all of this lease
  j serial log --since boot            since the bench was last switched on
  j serial log --since 10m -t          the last ten minutes, with times and events
  j serial log --since boot --follow   and what comes";

const fn default_baudrate() -> NonZeroU32 {
    NonZeroU32::new(115_200).expect("115200 is not zero")
}

const fn default_check_present() -> bool {
    true
}

const fn default_reconnect_timeout() -> Duration {
    Duration::from_secs(10)
}

impl Build for PySerial {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        let line = Line { baudrate: config.baudrate, disable_hupcl: config.disable_hupcl };
        if config.record.is_some() && matches!(config.url, Target::Loop) {
            let words = "record: a loop only says what is sent to it; record a port";
            return Err(DriverError::InvalidArgument(words.into()));
        }
        let console = Console::new(config.url, line, config.reconnect_timeout);
        Ok(Self {
            recording: config.record.map(|settings| Recording::new(&console, settings)),
            console,
            check_present: config.check_present,
            pace: Arc::new(Pace::new(config.cps)),
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

    /// Those of the reference, then Hilt's own.
    fn methods(&self) -> &'static [Method] {
        const METHODS: &[Method] = &[
            Method::bytes("connect"),
            Method::unary("close"),
            Method::unary("set_dtr"),
            Method::unary("set_rts"),
            Method::bytes("borrow"),
            Method::unary("writing_for"),
            Method::unary("take_over"),
            // Only of a port that is recorded.
            Method::items("log"),
        ];
        if self.recording.is_some() { METHODS } else { &METHODS[..METHODS.len() - 1] }
    }

    /// Tells clients which ports they can ask for a log.
    fn methods_description(&self) -> BTreeMap<String, String> {
        let log = self.recording.as_ref().map(|_| ("log".to_owned(), LOG_HELP.to_owned()));
        log.into_iter().collect()
    }

    fn recorder(&self) -> Option<&dyn Recorder> {
        self.recording.as_ref().map(|recording| -> &dyn Recorder { recording })
    }

    /// Opens the port once, so that whoever gets the bench knows that it is there.
    async fn open(&self) -> Result<()> {
        if self.check_present { self.console.check().await } else { Ok(()) }
    }

    async fn close(&self) {
        self.console.end_streams().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "close" => {
                call.args.none()?;
                self.console.end_streams().await;
            }
            "set_dtr" => self.set(ModemLine::Dtr, &call).await?,
            "set_rts" => self.set(ModemLine::Rts, &call).await?,
            "writing_for" => {
                call.args.none()?;
                return Ok(json!(self.console.writing_for().map(|time| time.as_secs_f64())));
            }
            "take_over" => {
                call.args.none()?;
                self.console.take_over();
            }
            _ => return Err(call.no_such_method()),
        }
        Ok(Value::Null)
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        let ("log", Some(recording)) = (call.method, &self.recording) else {
            return Err(call.no_such_method());
        };
        call.args.at_most(2)?;
        let since = call.args.optional(0, "since")?.unwrap_or(Since::Part);
        recording.log(since, call.args.optional(1, "follow")?.unwrap_or(false)).await
    }

    async fn connect(&self, method: &str) -> Result<ByteStream> {
        match method {
            "connect" => Ok(pace::paced(self.console.stream().await?, &self.pace)),
            "borrow" => loan::borrow(&self.console).await,
            _ => Err(DriverError::NoSuchMethod(method.to_owned())),
        }
    }
}

impl PySerial {
    /// Sets a modem line to the call's argument, opening the port for as long as it takes.
    async fn set(&self, line: ModemLine, call: &Call<'_>) -> Result<()> {
        call.args.at_most(1)?;
        self.console.set(line, call.args.required(0, "value")?).await
    }
}
