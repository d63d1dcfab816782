//! Boards of four or eight channels, which are HID devices without a driver of their own.
//!
//! A board has one endpoint for frames, and one for what it says: an answer to every frame, which is
//! text if the frame asks for the channels. Boards with LCUS's name on them switch, but tell nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{CLIENT, frame, state};
use crate::discover::{Offer, places};
use crate::power::switch::{AtOpen, Position, ReadBack, State, Switch, no_status};
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Device, Kind, Wanted, patience};
use crate::{DriverError, Result, number};

/// `jumpstarter_driver_noyito_relay.driver.NoyitoPowerHID`.
#[derive(Debug)]
pub struct NoyitoPowerHid {
    device: Device,
    channels: Vec<u8>,
    read_back: bool,
    at_open: AtOpen,
}

/// The `config:` block of a board on HID.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HidConfig {
    #[serde(default = "vendor", deserialize_with = "number::whole")]
    vendor_id: u16,
    #[serde(default = "product", deserialize_with = "number::whole")]
    product_id: u16,
    /// How many channels the board has, 4 or 8.
    #[serde(default = "four", deserialize_with = "number::whole")]
    num_channels: u8,
    /// Which channel, from 1.
    #[serde(default = "first", deserialize_with = "number::whole")]
    channel: u8,
    /// Switches all channels together.
    #[serde(default)]
    all_channels: bool,
    /// The bus and the ports that lead to the board, as in `1-1.4`: it has no serial number.
    #[serde(default)]
    path: Option<String>,
    /// Whether the board answers when it is asked.
    #[serde(default = "yes")]
    read_back: bool,
    #[serde(default)]
    default: AtOpen,
    /// How long a call waits for a board that is not plugged in, in seconds.
    #[serde(default = "patience", deserialize_with = "number::seconds")]
    reconnect_timeout: Duration,
}

const fn vendor() -> u16 {
    NUMBERS.0
}

const fn product() -> u16 {
    NUMBERS.1
}

const fn four() -> u8 {
    4
}

const fn first() -> u8 {
    1
}

const fn yes() -> bool {
    true
}

/// The numbers of vendor and product that boards have.
const NUMBERS: (u16, u16) = (0x5131, 0x2007);

/// What the reference takes for them: the same digits, but decimal. No board has these.
const DECIMAL: (u16, u16) = (5131, 2007);

/// How a board is known. The kernel's driver for HID has taken it.
const KIND: Kind = Kind {
    name: "HID relay board",
    is_like: |device| device.is_one_of(NUMBERS.0, &[NUMBERS.1]),
    claim: Claim::Detached(0),
};

/// The boards that can be found. They don't say how many channels they have.
pub(super) const OFFER: Offer = Offer {
    kind: KIND,
    driver: "jumpstarter_driver_noyito_relay.driver.NoyitoPowerHID",
    name: "noyito",
    needs: &[],
    to_fill_in: Some("`num_channels: 8`, if the board has eight"),
    configs: |board| places(&json!({"path": board.path}), "channel", 1..=4),
};

/// As [`KIND`], where the configuration has the numbers.
const NUMBERED: Kind = Kind { is_like: |_| true, ..KIND };

/// The frame that asks for all channels: a channel and a level that there are not.
const ASK: [u8; 4] = [0xA0, 0x0F, 0x02, 0xB1];

/// The longest report, in bytes.
const REPORT: usize = 64;

/// How long a board may take for a report, to begin an answer and to go on with it, and how long a
/// call may take for eight channels.
const REPORT_LIMIT: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(15);

/// How long a report takes that is there already, and how many there may be.
const LEFTOVER_LIMIT: Duration = Duration::from_millis(50);
const LEFTOVERS: usize = 32;

impl Build for NoyitoPowerHid {
    type Config = HidConfig;

    fn build(config: HidConfig) -> Result<Self> {
        Self::on_bus(Bus::host(), config)
    }
}

impl NoyitoPowerHid {
    fn on_bus(bus: Arc<Bus>, config: HidConfig) -> Result<Self> {
        let HidConfig { num_channels, channel, all_channels, read_back, .. } = config;
        if ![4, 8].contains(&num_channels) {
            let text = format!("num_channels must be 4 or 8, got {num_channels}");
            return Err(DriverError::InvalidArgument(text));
        }
        if !all_channels && !(1..=num_channels).contains(&channel) {
            let text = format!("channel must be 1 to {num_channels}, got {channel}");
            return Err(DriverError::InvalidArgument(text));
        }
        let (kind, numbers) = match (config.vendor_id, config.product_id) {
            NUMBERS | DECIMAL => (KIND, None),
            numbers => (NUMBERED, Some(numbers)),
        };
        let wanted = Wanted { kind, serial: None, path: config.path };
        let device =
            Device::new(bus, wanted, config.reconnect_timeout).with_numbers(numbers).shared();
        let channels = if all_channels { (1..=num_channels).collect() } else { vec![channel] };
        Ok(Self { device, channels, read_back, at_open: config.default })
    }
}

impl Switch for NoyitoPowerHid {
    const CLIENT: &'static str = CLIENT;

    async fn set(&self, position: Position) -> Result<()> {
        let channels = self.channels.clone();
        let work = move |board: &mut dyn Connection| {
            for &channel in &channels {
                board.write(&frame(channel, position), REPORT_LIMIT)?;
                // What it answers to this is none to the next.
                said(board, ANSWER_LIMIT)?;
            }
            Ok(())
        };
        self.device.run(LIMIT, work).await
    }

    fn read_back(&self) -> ReadBack {
        if self.read_back { ReadBack::Device } else { ReadBack::None }
    }

    async fn state(&self) -> Result<State> {
        if !self.read_back {
            return Err(no_status());
        }
        let channels = self.channels.clone();
        self.device.run(LIMIT, move |board: &mut dyn Connection| ask(board, &channels)).await
    }

    fn at_open(&self) -> AtOpen {
        self.at_open
    }

    async fn close(&self) {
        self.device.release();
    }
}

/// Asks a board where these channels are together. Blocks.
fn ask(board: &mut dyn Connection, channels: &[u8]) -> Result<State> {
    // The rest of an earlier answer is none to this.
    for _ in 0..LEFTOVERS {
        if said(board, LEFTOVER_LIMIT)?.is_none() {
            break;
        }
    }
    board.write(&ASK, REPORT_LIMIT)?;
    let mut answer = Vec::new();
    while let Some(more) = said(board, ANSWER_LIMIT)? {
        // Reports are filled up with zeros.
        answer.extend(more.into_iter().filter(|byte| *byte != 0));
        if let Ok(state) = state(&answer, channels) {
            return Ok(state);
        }
    }
    match answer.is_empty() {
        true => Err(DriverError::Timeout(
            "the HID relay board does not answer; if it never does, it needs `read_back: false`"
                .into(),
        )),
        false => state(&answer, channels),
    }
}

/// The next report of a board. None if it has nothing to say. Blocks.
fn said(board: &mut dyn Connection, limit: Duration) -> Result<Option<Vec<u8>>> {
    let mut report = [0; REPORT];
    match board.read(&mut report, limit) {
        Ok(length) => Ok(Some(report[..length].to_vec())),
        Err(DriverError::Timeout(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use serde_json::Value;

    use super::*;
    use crate::Driver as _;
    use crate::power::switch::Switched;
    use crate::power::{Power as _, PowerDriver};
    use crate::registry::{self, parse};
    use crate::usb::Control;
    use crate::usb::testing::{Firmware, Host, Mood};

    /// A board's program.
    #[derive(Debug, Default)]
    struct Board {
        relays: [bool; 8],
        /// LCUS's boards do not know the frame that asks.
        mute: bool,
        /// It sends the beginning of an answer only.
        cut: bool,
        answers: VecDeque<Vec<u8>>,
    }

    impl Firmware for Board {
        fn write(&mut self, report: &[u8]) -> Result<(), rusb::Error> {
            let [0xA0, channel, level, sum] = *report else { return Err(rusb::Error::Pipe) };
            if sum != 0xA0_u8.wrapping_add(channel).wrapping_add(level) {
                return Ok(());
            }
            match (channel, level) {
                (1..=8, 0 | 1) => {
                    self.relays[usize::from(channel) - 1] = level == 1;
                    self.answers.push_back(report.to_vec());
                }
                (0x0F, 2) if !self.mute => {
                    let word = |on: &bool| if *on { "ON" } else { "OFF" };
                    let lines = self.relays.iter().zip(1..);
                    let mut text: String =
                        lines.map(|(on, n)| format!("CH{n}:{}\r\n", word(on))).collect();
                    text.truncate(if self.cut { 5 } else { text.len() });
                    // Reports of a size that has nothing to do with lines.
                    for piece in text.as_bytes().chunks(14) {
                        let mut report = piece.to_vec();
                        report.resize(16, 0);
                        self.answers.push_back(report);
                    }
                }
                _ => {}
            }
            Ok(())
        }

        fn read(&mut self) -> Option<Vec<u8>> {
            self.answers.pop_front()
        }

        fn control_out(&mut self, request: Control, _: &[u8]) -> Result<(), rusb::Error> {
            unreachable!("boards are spoken to in reports, not by {request:?}")
        }

        fn control_in(&mut self, request: Control, _: usize) -> Result<Vec<u8>, rusb::Error> {
            unreachable!("boards are spoken to in reports, not by {request:?}")
        }
    }

    fn power(host: &Host<Board>, config: Value) -> Switched<NoyitoPowerHid> {
        let config = parse(config).unwrap();
        Switched::new(NoyitoPowerHid::on_bus(Arc::clone(&host.bus), config).unwrap())
    }

    fn relays(host: &Host<Board>, path: &str) -> [bool; 8] {
        host.at(path, |board| board.firmware.relays)
    }

    #[tokio::test]
    async fn channels_are_switched_one_by_one_or_together() {
        let host = Host::new();
        host.plug("1-1", NUMBERS, &[], Board::default());
        let three = power(&host, json!({"num_channels": 8, "channel": 3}));
        three.on().await.unwrap();
        assert_eq!(relays(&host, "1-1"), [false, false, true, false, false, false, false, false]);
        let all = power(&host, json!({"num_channels": 8, "all_channels": true}));
        assert_eq!(all.status().await.unwrap(), State::Partial);
        all.on().await.unwrap();
        assert_eq!(relays(&host, "1-1"), [true; 8]);
        three.off().await.unwrap();
        assert_eq!(three.status().await.unwrap(), State::Off);
    }

    #[tokio::test(start_paused = true)]
    async fn other_programs_have_their_turn_between_two_calls() {
        let host = Host::new();
        host.plug("1-1", NUMBERS, &[], Board::default());
        let one = power(&host, json!({"channel": 1}));
        let two = power(&host, json!({"channel": 2}));
        let (first, second) = tokio::join!(one.on(), two.on());
        assert_eq!((first.unwrap(), second.unwrap()), ((), ()));
        assert_eq!(relays(&host, "1-1")[..2], [true; 2]);
        while host.at("1-1", |board| board.open) {
            tokio::task::yield_now().await;
        }
        assert!(host.at("1-1", |board| board.claims.iter().all(|c| *c == Claim::Detached(0))));
        host.at("1-1", |board| board.taken = 3);
        one.off().await.unwrap();
        host.at("1-1", |board| board.taken = usize::MAX);
        assert!(matches!(one.on().await, Err(DriverError::Busy(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_numbers_may_be_others_and_may_be_the_references() {
        let host = Host::new();
        host.plug("1-1", NUMBERS, &[], Board::default());
        host.plug("1-2", (0x1234, 0x5678), &[], Board::default());
        let reference = json!({"vendor_id": 5131, "product_id": 2007});
        power(&host, reference).on().await.unwrap();
        assert!(relays(&host, "1-1")[0]);
        power(&host, json!({"vendor_id": 0x1234, "product_id": "22136"})).on().await.unwrap();
        assert!(relays(&host, "1-2")[0]);
        let none = json!({"vendor_id": 1, "product_id": 2, "reconnect_timeout": 0});
        let error = power(&host, none).on().await.unwrap_err();
        assert_eq!(error.to_string(), "there is no HID relay board: no HID relay board at all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_board_that_never_answers_is_blind_if_it_is_known_to_be() {
        let host = Host::new();
        host.plug("1-1", NUMBERS, &[], Board { mute: true, ..Board::default() });
        let error = power(&host, json!({})).on().await.unwrap_err();
        assert!(matches!(error, DriverError::Timeout(_)), "{error}");
        assert!(error.to_string().ends_with("it needs `read_back: false`"), "{error}");
        let blind = power(&host, json!({"read_back": false}));
        blind.off().await.unwrap();
        assert!(!relays(&host, "1-1")[0]);
        assert!(matches!(blind.status().await, Err(DriverError::Unsupported(_))));
        let help = PowerDriver(blind).methods_description();
        assert!(help["on"].contains("read-back: none"), "{help:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_is_no_state() {
        let host = Host::new();
        host.plug("1-1", NUMBERS, &[], Board::default());
        let power = power(&host, json!({"reconnect_timeout": 0}));
        let mood = |mood| host.at("1-1", |board| board.moods.push_back(Some(mood)));
        host.at("1-1", |board| board.firmware.answers.push_back(b"CH1:ON\r\n".to_vec()));
        assert_eq!(power.status().await.unwrap(), State::Off, "what it said before does not count");
        host.at("1-1", |board| board.firmware.cut = true);
        assert_eq!(
            power.status().await.unwrap_err().to_string(),
            "the relay board does not tell where CH1 is; it said \"CH1:O\""
        );
        mood(Mood::Gone);
        assert!(matches!(power.on().await, Err(DriverError::Disconnected(_))));
        mood(Mood::Stall);
        assert!(power.on().await.unwrap_err().to_string().ends_with("it refuses the request"));
    }

    #[test]
    fn channels_that_a_board_does_not_have_are_refused() {
        let entry =
            registry::find("jumpstarter_driver_noyito_relay.driver.NoyitoPowerHID").unwrap();
        let refused = |config| entry.build(config).unwrap_err().to_string();
        assert_eq!(refused(json!({"channel": 5})), "channel must be 1 to 4, got 5");
        assert_eq!(refused(json!({"num_channels": 2})), "num_channels must be 4 or 8, got 2");
    }
}
