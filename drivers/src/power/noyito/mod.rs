//! LCUS relay boards, which NOYITO and many others sell: their protocol, whatever it goes over.
//!
//! A frame is A0, the channel, the position, and the sum of these three. A board that can be asked
//! answers with a line of text a channel, `CH1: ON`. Sources: the boards' leaflets, labgrid's and
//! usbrelay's drivers.

mod hid;
mod serial;

pub use self::hid::{HidConfig, NoyitoPowerHid};
pub use self::serial::{NoyitoPowerSerial, SerialConfig};
use super::switch::{Position, State};
use crate::discover::Offer;
use crate::{DriverError, Result};

/// The boards that can be found. Those with a serial adapter look like any serial adapter.
pub(crate) const OFFERS: &[Offer] = &[hid::OFFER];

/// The client of these boards.
const CLIENT: &str = "jumpstarter_driver_noyito_relay.client.NoyitoPowerClient";

/// The frame that switches a channel.
fn frame(channel: u8, position: Position) -> [u8; 4] {
    const START: u8 = 0xA0;
    let level = match position {
        Position::On => 1,
        Position::Off => 0,
    };
    [START, channel, level, START.wrapping_add(channel).wrapping_add(level)]
}

/// Where these channels are together, according to a board's answer.
fn state(answer: &[u8], channels: &[u8]) -> Result<State> {
    let text = String::from_utf8_lossy(answer);
    let found = channels.iter().map(|channel| {
        let name = format!("CH{channel}");
        let level = text.lines().find_map(|line| {
            let (key, level) = line.split_once(':')?;
            (key.trim() == name).then(|| level.trim().trim_end_matches('\0').to_uppercase())
        });
        match level.as_deref() {
            Some("ON") => Ok(State::On),
            Some("OFF") => Ok(State::Off),
            Some(_) | None => Err(DriverError::Device(format!(
                "the relay board does not tell where {name} is; it said {text:?}"
            ))),
        }
    });
    let states = found.collect::<Result<Vec<_>>>()?;
    State::of(states).ok_or_else(|| DriverError::InvalidArgument("there is no channel".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_a_sum() {
        assert_eq!(frame(1, Position::On), [0xA0, 1, 1, 0xA2]);
        assert_eq!(frame(2, Position::Off), [0xA0, 2, 0, 0xA2]);
    }

    #[test]
    fn answers_are_lines() {
        let answer = b"CH1: ON\r\nCH2:OFF\r\n\0";
        assert_eq!(state(answer, &[1]).unwrap(), State::On);
        assert_eq!(state(answer, &[2]).unwrap(), State::Off);
        assert_eq!(state(answer, &[1, 2]).unwrap(), State::Partial);
        let error = state(b"CH1: O", &[1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the relay board does not tell where CH1 is; it said \"CH1: O\""
        );
    }
}
