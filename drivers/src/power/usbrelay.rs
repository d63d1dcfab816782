//! Relay boards that call themselves `USBRelay1` to `USBRelay8`, which dcttech and many others sell.
//!
//! A board is an HID device on V-USB, whose numbers it shares with whatever else is made with that, so
//! it is known by its name. It takes a report with a command and a relay, and has one with five letters,
//! its serial number, and a bit for each relay. Sources: labgrid's and usbrelay's drivers. The requests
//! go to the device and not to its interface, as V-USB's own programs send them: there is nothing to
//! claim, and the kernel's driver can stay.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::switch::{AtOpen, Position, State, Switch};
use crate::discover::{Offer, places};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Control, Device, Kind, Plugged, Wanted, patience};
use crate::{DriverError, Result, number};

/// `hilt.power.UsbRelay`.
#[derive(Debug)]
pub struct UsbRelay {
    device: Device,
    relay: u8,
    at_open: AtOpen,
}

/// The `config:` block of a relay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The board's five letters, as in `BITFT`; none is the first board there is.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to the board, as in `1-1.4`.
    #[serde(default)]
    path: Option<String>,
    /// Which relay, from 1 to as many as the board has.
    #[serde(default = "first", deserialize_with = "number::whole")]
    relay: u8,
    #[serde(default)]
    default: AtOpen,
    /// How long a call waits for a board that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

const fn first() -> u8 {
    1
}

/// How a board is known.
const KIND: Kind = Kind {
    name: "USB relay board",
    is_like: |device| {
        device.is_one_of(0x16c0, &[0x05df]) && device.product_name.starts_with(PRODUCT)
    },
    claim: Claim::Nothing,
};

/// The boards that can be found. Their serial numbers are not in the kernel's list.
pub(crate) const OFFERS: &[Offer] = &[Offer {
    kind: KIND,
    driver: "hilt.power.UsbRelay",
    name: "usbrelay",
    needs: &[],
    to_fill_in: None,
    configs: |board| places(&json!({"path": board.path}), "relay", 1..=relays_of(board)),
}];

/// What a board calls itself, before the number of its relays.
const PRODUCT: &str = "USBRelay";

/// As many relays as fit into a report.
const MOST: u8 = 8;

/// The report, and the requests that write and read it: a feature report without a number.
type Report = [u8; 8];
const WRITE: Control = Control { kind: 0x20, request: 9, value: 0x0300, index: 0 };
const READ: Control = Control { kind: 0xA0, request: 1, value: 0x0300, index: 0 };

/// How long a board may take for a report, and a call for all of them.
const REPORT_LIMIT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);

impl Build for UsbRelay {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Self::on_bus(Bus::host(), config)
    }
}

impl UsbRelay {
    fn on_bus(bus: Arc<Bus>, config: Config) -> Result<Self> {
        if !(1..=8).contains(&config.relay) {
            let text = format!("relay must be 1 to 8, got {}", config.relay);
            return Err(DriverError::InvalidArgument(text));
        }
        let wanted = Wanted { kind: KIND, serial: config.serial, path: config.path };
        let device = Device::new(bus, wanted, config.reconnect_timeout).that_is_asked(serial);
        Ok(Self { device, relay: config.relay, at_open: config.default })
    }

    /// Fails if the board does not have this relay.
    fn find(relay: u8, board: &Plugged) -> Result<()> {
        let relays = relays_of(board);
        if relay <= relays {
            return Ok(());
        }
        let text = format!("relay: {relay} is none; the {} has {relays}", board.product_name);
        Err(DriverError::InvalidArgument(text))
    }
}

impl Switch for UsbRelay {
    async fn set(&self, position: Position) -> Result<()> {
        let relay = self.relay;
        let command = match position {
            Position::On => 0xFF,
            Position::Off => 0xFD,
        };
        let work = move |board: &Plugged, connection: &mut dyn Connection| {
            Self::find(relay, board)?;
            let report: Report = [command, relay, 0, 0, 0, 0, 0, 0];
            connection.control_out(WRITE, &report, REPORT_LIMIT)
        };
        self.device.run_on(LIMIT, work).await
    }

    async fn state(&self) -> Result<State> {
        let relay = self.relay;
        let work = move |board: &Plugged, connection: &mut dyn Connection| {
            Self::find(relay, board)?;
            let [.., relays] = report(connection)?;
            Ok(State::from(relays >> (relay - 1) & 1 == 1))
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

/// How many relays a board says it has.
fn relays_of(board: &Plugged) -> u8 {
    let number = board.product_name.trim_start_matches(PRODUCT).parse();
    number.unwrap_or(MOST).min(MOST)
}

/// Reads a board's report. Blocks.
fn report(board: &mut dyn Connection) -> Result<Report> {
    let mut report = Report::default();
    let length = board.control_in(READ, &mut report, REPORT_LIMIT)?;
    // What is not a serial number at the front is not a bit for each relay at the end, either.
    match length == report.len() && report[..SERIAL].iter().all(u8::is_ascii_graphic) {
        true => Ok(report),
        false => Err(DriverError::Device(format!(
            "the USB relay board does not tell where its relays are; it said {:02x?}",
            &report[..length]
        ))),
    }
}

/// The length of a serial number.
const SERIAL: usize = 5;

/// Asks a board for its serial number. Blocks.
fn serial(board: &mut dyn Connection) -> Result<String> {
    let report = report(board)?;
    Ok(report[..SERIAL].iter().copied().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::{self, parse};
    use crate::usb::testing::{Firmware, Host, Mood, unplug};

    /// A board's program.
    #[derive(Debug)]
    struct Board {
        serial: [u8; SERIAL],
        relays: u8,
    }

    impl Firmware for Board {
        fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error> {
            assert_eq!(request, WRITE);
            match *data {
                [0xFF, relay @ 1..=8, ..] => self.relays |= 1 << (relay - 1),
                [0xFD, relay @ 1..=8, ..] => self.relays &= !(1 << (relay - 1)),
                _ => return Err(rusb::Error::Pipe),
            }
            Ok(())
        }

        fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error> {
            assert_eq!((request, length), (READ, 8));
            Ok([&self.serial[..], &[0, 0, self.relays]].concat())
        }
    }

    const NUMBERS: (u16, u16) = (0x16c0, 0x05df);

    fn plug(host: &Host<Board>, path: &str, product: &str, serial: [u8; SERIAL]) {
        let board = Board { serial, relays: 0 };
        host.plug(
            path,
            NUMBERS,
            &[("product", product), ("manufacturer", "www.dcttech.com")],
            board,
        );
    }

    fn relay(host: &Host<Board>, config: Value) -> Switched<UsbRelay> {
        let config = parse(config).unwrap();
        Switched::new(UsbRelay::on_bus(Arc::clone(&host.bus), config).unwrap())
    }

    fn relays(host: &Host<Board>, path: &str) -> u8 {
        host.at(path, |board| board.firmware.relays)
    }

    #[tokio::test]
    async fn relays_are_switched_one_by_one_and_read_back() {
        let host = Host::new();
        plug(&host, "1-1", "USBRelay2", *b"BITFT");
        let two = relay(&host, json!({"relay": 2}));
        two.on().await.unwrap();
        relay(&host, json!({})).on().await.unwrap();
        assert_eq!(relays(&host, "1-1"), 0b11);
        two.off().await.unwrap();
        assert_eq!(relays(&host, "1-1"), 0b01);
        assert_eq!(two.status().await.unwrap(), State::Off);
        let claims = host.at("1-1", |board| board.claims.clone());
        assert_eq!(claims, [Claim::Nothing], "both share the board");
    }

    #[tokio::test(start_paused = true)]
    async fn a_board_is_told_by_its_name_and_the_serial_number_that_it_says() {
        let host = Host::new();
        plug(&host, "1-1", "V-USB thermometer", *b"THERM");
        plug(&host, "1-2", "USBRelay1", *b"AAAAA");
        plug(&host, "1-3", "USBRelay1", *b"BBBBB");
        let second = relay(&host, json!({"serial": "BBBBB"}));
        second.on().await.unwrap();
        assert_eq!((relays(&host, "1-2"), relays(&host, "1-3")), (0, 1));
        assert_eq!(host.at("1-1", |thermometer| thermometer.claims.len()), 0);
        second.off().await.unwrap();
        assert_eq!(host.at("1-2", |other| other.claims.len()), 1, "the others are asked once");

        let missing = relay(&host, json!({"serial": "CCCCC", "reconnect_timeout": 0}));
        assert_eq!(
            missing.on().await.unwrap_err().to_string(),
            "there is no USB relay board with the serial number CCCCC, but: \
             AAAAA at 1-2; BBBBB at 1-3"
        );
        // One that can't be asked may be the one.
        host.at("1-2", |board| board.moods.push_back(Some(Mood::Stall)));
        let error = missing.on().await.unwrap_err().to_string();
        assert!(error.contains("at 1-2, serial number none: it refuses the request; "), "{error}");
        unplug(host.list(), "1-2");
        unplug(host.list(), "1-3");
        let error = second.on().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no USB relay board with the serial number BBBBB: no USB relay board at all"
        );
    }

    #[tokio::test]
    async fn a_relay_that_a_board_does_not_have_is_refused() {
        let host = Host::new();
        plug(&host, "1-1", "USBRelay2", *b"BITFT");
        let error = relay(&host, json!({"relay": 3})).on().await.unwrap_err();
        assert_eq!(error.to_string(), "relay: 3 is none; the USBRelay2 has 2");
        let entry = registry::find("hilt.power.UsbRelay").unwrap();
        let error = entry.build(json!({"relay": 9})).unwrap_err();
        assert_eq!(error.to_string(), "relay must be 1 to 8, got 9");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_report_is_no_state() {
        let host = Host::new();
        plug(&host, "1-1", "USBRelay2", *b"BITFT");
        let relay = relay(&host, json!({"reconnect_timeout": 0}));
        let status = async |mood| {
            host.at("1-1", |board| board.moods.push_back(Some(mood)));
            relay.status().await.unwrap_err()
        };
        let error = status(Mood::Short).await;
        assert!(error.to_string().ends_with("it said [42, 49, 54, 46]"), "{error}");
        assert!(status(Mood::Garbage).await.to_string().contains("does not tell where"));
        assert!(matches!(status(Mood::Silent).await, DriverError::Timeout(_)));
        assert!(matches!(status(Mood::Gone).await, DriverError::Disconnected(_)));
        assert_eq!(relay.status().await.unwrap(), State::Off, "it is opened again");
        assert_eq!(host.at("1-1", |board| board.claims.len()), 5);
        host.at("1-1", |board| board.moods.push_back(Some(Mood::Stall)));
        let error = relay.on().await.unwrap_err();
        assert!(error.to_string().ends_with("it refuses the request"), "{error}");
        assert_eq!(relays(&host, "1-1"), 0);
    }
}
