//! A hook that prints lines which know when they were printed.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::time::{ClockId, clock_gettime};

/// Prints numbered lines, each with its time.
#[derive(Debug, Args)]
pub(super) struct PrintLines {
    /// How many.
    pub(super) count: usize,
    /// The pause between two lines, in milliseconds.
    pub(super) pause: u64,
}

impl PrintLines {
    /// Prints them. With a pause each line leaves at once, without one they leave in bursts.
    pub(super) fn print(&self) -> Result<()> {
        let pause = Duration::from_millis(self.pause);
        let mut output = io::BufWriter::new(io::stdout().lock());
        for number in 1..=self.count {
            writeln!(output, "{}", Line { number, printed: now()? })?;
            if !pause.is_zero() {
                output.flush()?;
                std::thread::park_timeout(pause);
            }
        }
        output.flush().context("printing lines")
    }
}

/// One of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// When it was printed, by the clock that all processes share; see [`now`].
    pub(super) printed: Duration,
}

impl Line {
    /// The line in a log message, which may have something in front of it.
    pub(super) fn parse(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once("line ")?;
        let (number, nanoseconds) = rest.trim_end().split_once(' ')?;
        Some(Self {
            number: number.parse().ok()?,
            printed: Duration::from_nanos(nanoseconds.parse().ok()?),
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} {}", self.number, self.printed.as_nanos())
    }
}

/// The time since the machine was started.
pub(super) fn now() -> Result<Duration> {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(now) => Ok(now.into()),
        Err(error) => bail!("reading the clock: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_in_a_message() {
        let line = Line { number: 17, printed: Duration::from_nanos(123_456_789_012) };
        assert_eq!(Line::parse(&line.to_string()), Some(line));
        assert_eq!(Line::parse(&format!("[exporter.hooks] {line}")), Some(line));
        assert_eq!(Line::parse("beforeLease hook executed successfully"), None);
    }
}
