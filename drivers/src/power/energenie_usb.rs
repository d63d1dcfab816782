//! EnerGenie and Gembird power strips with a USB plug (SIS-PM, mSIS-PM, EG-PM2, EG-PMS, EG-PMS2).
//!
//! Feature reports whose number is three times the socket's switch it and tell its state; report 1
//! tells the strip's serial number. Strips now and then send less than was asked for, and are asked
//! again. Source: the source of `sispmctl`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::switch::{AtOpen, Position, State, Switch};
use crate::discover::{Offer, places};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Control, Device, Kind, Plugged, Wanted, patience};
use crate::{DriverError, Result, number};

/// `hilt.power.EnerGenieUsb`.
#[derive(Debug)]
pub struct EnerGenieUsb {
    device: Device,
    slot: u8,
    at_open: AtOpen,
}

/// The `config:` block of a socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial number, as in `01:02:03:04:05`; none is the first strip there is.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to the strip, as in `1-1.4`.
    #[serde(default)]
    path: Option<String>,
    /// Which socket, from 1 to 4.
    #[serde(default = "first", deserialize_with = "number::whole")]
    slot: u8,
    #[serde(default)]
    default: AtOpen,
    /// How long a call waits for a strip that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

const fn first() -> u8 {
    1
}

/// Strips with one socket have it at 0 or at 1, the others have four from 1 on.
const ONE_AT_0: u16 = 0xfd10;
const ONE_AT_1: u16 = 0xfd12;

/// How a strip is known. The kernel's driver for HID may have taken it.
const KIND: Kind = Kind {
    name: "EnerGenie power strip",
    is_like: |device| device.is_one_of(0x04b4, &[ONE_AT_0, 0xfd11, ONE_AT_1, 0xfd13, 0xfd15]),
    claim: Claim::Detached(0),
};

/// The strips that can be found. Their serial numbers are not in the kernel's list.
pub(crate) const OFFERS: &[Offer] = &[Offer {
    kind: KIND,
    driver: "hilt.power.EnerGenieUsb",
    name: "energenie",
    needs: &[],
    to_fill_in: None,
    configs: |strip| {
        let slots = if matches!(strip.product, ONE_AT_0 | ONE_AT_1) { 1 } else { 4 };
        places(&json!({"path": strip.path}), "slot", 1..=slots)
    },
}];

/// What every report holds, in bytes.
const REPORT: usize = 5;

/// The number of the report that tells the serial number.
const SERIAL: u8 = 1;

/// How long a strip may take for a report, and a call for all of them.
const REPORT_LIMIT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(15);

/// How often a strip is asked that sends less than it was asked for.
const TRIES: usize = 5;

impl Build for EnerGenieUsb {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Self::on_bus(Bus::host(), config)
    }
}

impl EnerGenieUsb {
    fn on_bus(bus: Arc<Bus>, config: Config) -> Result<Self> {
        if !(1..=4).contains(&config.slot) {
            let text = format!("slot must be 1 to 4, got {}", config.slot);
            return Err(DriverError::InvalidArgument(text));
        }
        let wanted = Wanted { kind: KIND, serial: config.serial, path: config.path };
        let device =
            Device::new(bus, wanted, config.reconnect_timeout).that_is_asked(serial).shared();
        Ok(Self { device, slot: config.slot, at_open: config.default })
    }
}

impl Switch for EnerGenieUsb {
    async fn set(&self, position: Position) -> Result<()> {
        let slot = self.slot;
        let level = match position {
            Position::On => 3,
            Position::Off => 0,
        };
        let work = move |strip: &Plugged, connection: &mut dyn Connection| {
            let number = report_of(slot, strip)?;
            connection.control_out(write(number), &[number, level, 0, 0, 0], REPORT_LIMIT)
        };
        self.device.run_on(LIMIT, work).await
    }

    async fn state(&self) -> Result<State> {
        let slot = self.slot;
        let work = move |strip: &Plugged, connection: &mut dyn Connection| {
            let [_, state, ..] = report(connection, report_of(slot, strip)?)?;
            // The next bit tells whether there is mains to switch.
            Ok(State::from(state & 1 == 1))
        };
        self.device.run_on(LIMIT, work).await
    }

    fn at_open(&self) -> AtOpen {
        self.at_open
    }

    async fn close(&self) {
        self.device.release();
    }
}

/// The number of a socket's report.
fn report_of(slot: u8, strip: &Plugged) -> Result<u8> {
    match (strip.product, slot) {
        (ONE_AT_0, 1) => Ok(0),
        (ONE_AT_0 | ONE_AT_1, 2..) => Err(DriverError::InvalidArgument(format!(
            "slot: {slot} is none; the EnerGenie at {} has one socket, which is 1",
            strip.path
        ))),
        (_, slot) => Ok(3 * slot),
    }
}

const fn write(number: u8) -> Control {
    Control { kind: 0x21, request: 9, value: feature(number), index: 0 }
}

const fn read(number: u8) -> Control {
    Control { kind: 0xA1, request: 1, value: feature(number), index: 0 }
}

/// A feature report in the value of a request.
const fn feature(number: u8) -> u16 {
    u16::from_be_bytes([3, number])
}

/// Reads a report. Blocks.
fn report(strip: &mut dyn Connection, number: u8) -> Result<[u8; REPORT]> {
    let mut report = [0; REPORT];
    for _ in 0..TRIES {
        if strip.control_in(read(number), &mut report, REPORT_LIMIT)? == REPORT {
            return Ok(report);
        }
    }
    Err(DriverError::Device(format!(
        "the EnerGenie does not answer in full, asked {TRIES} times for report {number}"
    )))
}

/// Asks a strip for its serial number. Blocks.
fn serial(strip: &mut dyn Connection) -> Result<String> {
    let bytes = report(strip, SERIAL)?.map(|byte| format!("{byte:02x}"));
    Ok(bytes.join(":"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::{self, parse};
    use crate::usb::testing::{Firmware, Host, Mood};

    /// A strip's program: relays by the numbers of their reports.
    #[derive(Debug)]
    struct Strip {
        serial: u8,
        relays: Vec<(u8, bool)>,
    }

    impl Firmware for Strip {
        fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error> {
            assert_eq!((request.kind, request.request, data.len()), (0x21, 9, 5));
            let [3, number] = request.value.to_be_bytes() else { return Err(rusb::Error::Pipe) };
            let relay = self.relays.iter_mut().find(|(relay, _)| *relay == number);
            let (_, on) = relay.ok_or(rusb::Error::Pipe)?;
            *on = match *data {
                [report, 3, ..] if report == number => true,
                [report, 0, ..] if report == number => false,
                _ => return Err(rusb::Error::Pipe),
            };
            Ok(())
        }

        fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error> {
            assert_eq!((request.kind, request.request, length), (0xA1, 1, 5));
            match request.value.to_be_bytes() {
                [3, SERIAL] => Ok(vec![1, 2, 3, 4, self.serial]),
                [3, number] => {
                    let (_, on) = self
                        .relays
                        .iter()
                        .find(|(relay, _)| *relay == number)
                        .ok_or(rusb::Error::Pipe)?;
                    // With mains.
                    Ok(vec![number, 2 | u8::from(*on), 0, 0, 0])
                }
                _ => Err(rusb::Error::Pipe),
            }
        }
    }

    fn plug(host: &Host<Strip>, path: &str, product: u16, serial: u8) {
        let numbers: &[u8] = match product {
            ONE_AT_0 => &[0],
            ONE_AT_1 => &[3],
            _ => &[3, 6, 9, 12],
        };
        let relays = numbers.iter().map(|number| (*number, false)).collect();
        host.plug(path, (0x04b4, product), &[], Strip { serial, relays });
    }

    fn socket(host: &Host<Strip>, config: Value) -> Switched<EnerGenieUsb> {
        let config = parse(config).unwrap();
        Switched::new(EnerGenieUsb::on_bus(Arc::clone(&host.bus), config).unwrap())
    }

    fn sockets(host: &Host<Strip>, path: &str) -> Vec<bool> {
        host.at(path, |strip| strip.firmware.relays.iter().map(|(_, on)| *on).collect())
    }

    #[tokio::test]
    async fn sockets_are_switched_one_by_one_and_read_back() {
        let host = Host::new();
        plug(&host, "1-1", 0xfd13, 5);
        plug(&host, "1-2", 0xfd15, 6);
        let four = socket(&host, json!({"serial": "01:02:03:04:06", "slot": 4}));
        four.on().await.unwrap();
        assert_eq!(sockets(&host, "1-1"), [false; 4]);
        assert_eq!(sockets(&host, "1-2"), [false, false, false, true]);
        assert_eq!(four.status().await.unwrap(), State::On);
        four.off().await.unwrap();
        assert_eq!(sockets(&host, "1-2"), [false; 4]);
        assert_eq!(host.at("1-2", |strip| strip.claims[0]), Claim::Detached(0));
    }

    #[tokio::test]
    async fn strips_with_one_socket_have_it_in_different_places() {
        let host = Host::new();
        plug(&host, "1-1", ONE_AT_0, 5);
        plug(&host, "1-2", ONE_AT_1, 6);
        for path in ["1-1", "1-2"] {
            socket(&host, json!({"path": path})).on().await.unwrap();
            assert_eq!(sockets(&host, path), [true]);
            let error = socket(&host, json!({"path": path, "slot": 2})).on().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("slot: 2 is none; the EnerGenie at {path} has one socket, which is 1")
            );
        }
        let entry = registry::find("hilt.power.EnerGenieUsb").unwrap();
        let error = entry.build(json!({"slot": 5})).unwrap_err();
        assert_eq!(error.to_string(), "slot must be 1 to 4, got 5");
    }

    #[tokio::test(start_paused = true)]
    async fn half_an_answer_is_asked_for_again() {
        let host = Host::new();
        plug(&host, "1-1", 0xfd11, 5);
        let socket = socket(&host, json!({"reconnect_timeout": 0}));
        host.at("1-1", |strip| strip.moods.extend([Some(Mood::Short); TRIES - 1]));
        assert_eq!(socket.status().await.unwrap(), State::Off);
        host.at("1-1", |strip| strip.moods.extend([Some(Mood::Short); TRIES]));
        assert_eq!(
            socket.status().await.unwrap_err().to_string(),
            "the EnerGenie does not answer in full, asked 5 times for report 3"
        );
        host.at("1-1", |strip| strip.moods.push_back(Some(Mood::Gone)));
        assert!(matches!(socket.on().await, Err(DriverError::Disconnected(_))));
        host.at("1-1", |strip| strip.moods.push_back(Some(Mood::Silent)));
        assert!(matches!(socket.on().await, Err(DriverError::Timeout(_))));
    }
}
