//! The board's power supply for the DUT.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::board::{Board, Command};
use crate::power::switch::ReadBack;
use crate::power::{Power, Reading};
use crate::{DriverError, Result};

/// The power supply.
#[derive(Debug)]
pub(super) struct Supply {
    board: Arc<Board>,
    /// What it was told last; none if it is not sure that it was done.
    last: Mutex<Option<Last>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Last {
    command: Command,
    /// The board's number on the bus, another one each time that it is plugged in.
    number: Option<String>,
}

/// How often it is measured.
const INTERVAL: Duration = Duration::from_secs(1);

impl Supply {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self { board, last: Mutex::default() }
    }

    /// Tells the board, unless that is what it was told last: it works off a sequence, which may
    /// press a button, and pressed once more that does the opposite.
    async fn tell(&self, command: Command) -> Result<()> {
        let mut last = self.last.lock().await;
        let now = Last { command, number: self.board.number().await };
        if last.as_ref() == Some(&now) {
            tracing::info!("{command:?} was the last that it was told; it is not told again");
            return Ok(());
        }
        *last = None;
        self.board.tell(command).await?;
        *last = Some(now);
        Ok(())
    }
}

impl Power for Supply {
    async fn on(&self) -> Result<()> {
        self.tell(Command::PowerOn).await
    }

    async fn off(&self) -> Result<()> {
        self.tell(Command::PowerOff).await
    }

    async fn rescue(&self) -> Result<()> {
        self.tell(Command::Rescue).await
    }

    fn read_back(&self) -> ReadBack {
        ReadBack::None
    }

    /// Goes on for ever, and has a reading whenever it has changed, as with the reference.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let board = Arc::clone(&self.board);
        let readings = stream::unfold((board, None), async |(board, last)| {
            loop {
                let measured = board.measurements().await;
                match measured.and_then(|text| reading(&text)) {
                    Ok(now) if last == Some(now) => sleep(INTERVAL).await,
                    Ok(now) => {
                        if last.is_some() {
                            tracing::debug!("power changed: {now:?}");
                        }
                        return Some((Ok(now), (board, Some(now))));
                    }
                    Err(error) => return Some((Err(error), (board, None))),
                }
            }
        });
        Ok(readings.boxed())
    }

    async fn close(&self) {
        self.board.release();
    }
}

/// What is measured, by its units: `2.06W 5.02V 0.41A`. Their order has changed before.
fn reading(text: &str) -> Result<Reading> {
    let value = |unit: char| {
        let mut words = text.split_whitespace();
        let number = words.find_map(|word| word.strip_suffix([unit, unit.to_ascii_lowercase()]));
        number.and_then(|number| number.parse().ok())
    };
    match (value('V'), value('A')) {
        (Some(voltage), Some(current)) => Ok(Reading { voltage, current }),
        _ => Err(DriverError::Device(format!(
            "the DUT Link says '{text}' of its power; expected something like '5.02V 0.41A'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_told_apart_by_their_units() {
        let expected = Reading { voltage: 5.02, current: 0.41 };
        for text in ["2.06W 5.02V 0.41A", "0.41A 5.02V 2.06W", " 5.02v\n0.41a"] {
            assert_eq!(reading(text).unwrap(), expected, "{text}");
        }
        assert_eq!(reading("-0.01A 0.00V").unwrap(), Reading { voltage: 0.0, current: -0.01 });
        for text in ["", "5.02V", "5.02 0.41", "V A", "5,02V 0,41A"] {
            let error = reading(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the DUT Link says '{text}'")), "{error}");
        }
    }
}
