//! The bare limit of a power switch on USB: its reports, and nothing else.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::time::Instant;

use super::statistics::median;

/// Switches a YKUSH's first port on and asks for it, again and again, and prints what that takes, in
/// microseconds.
#[derive(Debug, Args)]
pub(super) struct SwitchPort {
    /// How often.
    count: usize,
}

impl SwitchPort {
    /// Switches it.
    pub(super) fn switch(&self) -> Result<()> {
        const REPORT: usize = 64;
        const PORT_1_ON: u8 = 0x11;
        const PORT_1: u8 = 0x21;
        const LIMIT: Duration = Duration::from_secs(2);
        let board = rusb::open_device_with_vid_pid(0x04d8, 0xf2f7).context("finding a YKUSH")?;
        board.claim_interface(0)?;
        let mut report = [0; REPORT];
        let mut taken = Vec::new();
        for _ in 0..self.count {
            let begun = Instant::now();
            for command in [PORT_1_ON, PORT_1] {
                report[0] = command;
                board.write_interrupt(0x01, &report, LIMIT)?;
                board.read_interrupt(0x81, &mut [0; REPORT], LIMIT)?;
            }
            taken.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        writeln!(io::stdout(), "{}", median(taken)).context("printing the time")
    }
}
