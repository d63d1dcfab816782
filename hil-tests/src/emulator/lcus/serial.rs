//! A board behind a serial adapter.

use std::collections::VecDeque;

use anyhow::Result;
use tokio::sync::watch;

use super::{lines, obey};
use crate::emulator::device::Mood;
use crate::peers::serial::Peer;

/// Whether relay 1 and 2 are on.
type Relays = [bool; 2];

/// A board with two relays. Dropping it is pulling the cable.
#[derive(Debug)]
pub(crate) struct SerialRelays {
    adapter: Peer,
    relays: watch::Receiver<Relays>,
    mood: watch::Sender<Mood>,
}

impl SerialRelays {
    /// With both relays off.
    pub(crate) fn start() -> Result<Self> {
        let (mood, moods) = watch::channel(Mood::Well);
        let (board, relays) = watch::channel([false; 2]);
        let mut received = VecDeque::new();
        let adapter = Peer::start(move |bytes| {
            received.extend(bytes);
            hear(&mut received, &board, *moods.borrow())
        })?;
        Ok(Self { adapter, relays, mood })
    }

    /// The path of its port.
    pub(crate) fn port(&self) -> &str {
        self.adapter.port()
    }

    /// Its relays.
    pub(crate) fn relays(&self) -> watch::Receiver<Relays> {
        self.relays.clone()
    }

    /// How it answers.
    pub(crate) fn mood(&self) -> watch::Sender<Mood> {
        self.mood.clone()
    }
}

/// Takes what is complete of what was received; returns what the board says to it.
fn hear(received: &mut VecDeque<u8>, relays: &watch::Sender<Relays>, mood: Mood) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        match received.front() {
            Some(0xff) => {
                received.pop_front();
                said.extend(lines(&*relays.borrow()).into_bytes());
            }
            Some(0xa0) if received.len() < 4 => break,
            Some(0xa0) => {
                let frame: Vec<u8> = received.drain(..4).collect();
                if mood != Mood::Silent {
                    relays.send_modify(|relays| obey(&frame, relays));
                }
            }
            // What is no frame is passed over, byte after byte.
            Some(_) => drop(received.pop_front()),
            None => break,
        }
    }
    mood.spoil(&mut said);
    said
}
