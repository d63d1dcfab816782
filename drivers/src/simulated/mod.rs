//! A board that exists only in this process, for trying out everything at once.
//!
//! Its parts belong together as those of a real one do: power starts its firmware, the firmware
//! boots from what was flashed onto its SD card, if the card is in it, and speaks on its console.
//!
//! ```text
//! power ──► Board ──► firmware ◄──► console ──► serial
//!             ▲
//! storage ────┘  the card, in the host or in the board
//! ```

mod board;
mod firmware;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::Deserialize;

use self::board::{Board as Simulation, Place};
use crate::driver::{Driver, Method};
use crate::power::{Power, PowerDriver, Reading};
use crate::registry::BuildGroup;
use crate::storage::{MuxClient, StorageMux, StorageMuxDriver};
use crate::stream::{Sink, Source};
use crate::{ByteStream, Result};

/// `hilt.simulated.Board`: a group of `power`, `serial` and `storage`. No settings.
#[derive(Debug)]
pub struct Board;

/// There is nothing to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl BuildGroup for Board {
    type Config = Config;

    fn build(_: Config) -> Result<Vec<(&'static str, Arc<dyn Driver>)>> {
        let board = Arc::new(Simulation::default());
        let mux = Card(Arc::clone(&board));
        Ok(vec![
            ("power", Arc::new(PowerDriver(Supply(Arc::clone(&board))))),
            ("serial", Arc::new(Serial(board))),
            ("storage", Arc::new(StorageMuxDriver { mux, client: MuxClient::Flasher })),
        ])
    }
}

/// The board's power supply.
#[derive(Debug)]
struct Supply(Arc<Simulation>);

impl Power for Supply {
    async fn on(&self) -> Result<()> {
        self.0.power_on();
        Ok(())
    }

    async fn off(&self) -> Result<()> {
        self.0.power_off().await;
        Ok(())
    }

    /// What it draws now.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let reading = if self.0.is_on() {
            Reading { voltage: 5.02, current: 0.41 }
        } else {
            Reading { voltage: 0.0, current: 0.0 }
        };
        Ok(stream::iter([Ok(reading)]).boxed())
    }
}

/// The board's console.
#[derive(Debug)]
struct Serial(Arc<Simulation>);

#[async_trait]
impl Driver for Serial {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_pyserial.client.PySerialClient"
    }

    fn category(&self) -> &'static str {
        "serial"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::bytes("connect")] }
    }

    async fn connect(&self, _: &str) -> Result<ByteStream> {
        Ok(self.0.console().connect())
    }
}

/// The mux with the board's SD card.
#[derive(Debug)]
struct Card(Arc<Simulation>);

impl StorageMux for Card {
    async fn host(&self) -> Result<()> {
        self.0.place_card(Place::Host);
        Ok(())
    }

    async fn dut(&self) -> Result<()> {
        self.0.place_card(Place::Dut);
        Ok(())
    }

    async fn off(&self) -> Result<()> {
        self.0.place_card(Place::Nowhere);
        Ok(())
    }

    async fn write(&self, source: Source) -> Result<()> {
        self.0.write_card(source).await
    }

    async fn read(&self, sink: &mut Sink) -> Result<()> {
        self.0.read_card(sink).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::timeout;

    use super::*;

    struct Parts {
        power: Supply,
        serial: Serial,
        card: Card,
    }

    fn parts() -> Parts {
        let board = Arc::new(Simulation::default());
        let (power, serial) = (Supply(Arc::clone(&board)), Serial(Arc::clone(&board)));
        Parts { power, serial, card: Card(board) }
    }

    fn image(text: &'static str) -> Source {
        Box::pin(Cursor::new(text))
    }

    /// Reads the console until it shows `wanted`; returns all of it.
    async fn console(stream: &mut ByteStream, wanted: &str) -> String {
        let mut shown = String::new();
        let read = async {
            while !shown.contains(wanted) {
                let chunk = stream.reader.read().await.unwrap().unwrap();
                shown.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        timeout(Duration::from_secs(60), read).await.expect("the console shows it");
        shown
    }

    #[tokio::test(start_paused = true)]
    async fn it_boots_what_was_flashed() {
        let Parts { power, serial, card } = parts();
        let mut stream = serial.connect("connect").await.unwrap();
        card.host().await.unwrap();
        card.write(image("Coffee 2.1\n")).await.unwrap();
        card.dut().await.unwrap();
        power.on().await.unwrap();
        let shown = console(&mut stream, "# ").await;
        assert!(shown.contains("booting Coffee 2.1 (11 bytes)"), "{shown}");

        stream.writer.write(Bytes::from_static(b"version\r")).await.unwrap();
        let shown = console(&mut stream, "# ").await;
        assert_eq!(shown, "version\r\nCoffee 2.1\r\n# ");
        power.off().await.unwrap();
        let reading = power.read().unwrap().next().await.unwrap().unwrap();
        assert_eq!(reading.voltage, 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_boot_without_a_card() {
        let Parts { power, serial, card } = parts();
        let mut stream = serial.connect("connect").await.unwrap();
        power.on().await.unwrap();
        console(&mut stream, "no boot medium").await;
        power.off().await.unwrap();

        card.host().await.unwrap();
        card.write(image("Coffee 2.1\n")).await.unwrap();
        power.on().await.unwrap();
        console(&mut stream, "no boot medium").await;
    }

    #[tokio::test]
    async fn only_the_host_can_write_to_the_card_and_only_when_it_has_it() {
        let Parts { card, .. } = parts();
        card.dut().await.unwrap();
        let error = card.write(image("x")).await.unwrap_err();
        assert_eq!(error.to_string(), "the card is not connected to the host; call host first");
    }
}
