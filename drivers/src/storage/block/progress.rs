//! How far a flash is, in lines for whoever waits for it.

use std::time::Duration;

use tokio::time::Instant;

/// How often a line is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// A phase of a flash that is going on. Tells the log how far it is, at most once a second.
#[derive(Debug)]
pub(super) struct Progress {
    phase: Phase,
    /// How much there is to do, in bytes, if that is known.
    total: Option<u64>,
    begun: Instant,
    /// When the last line was told.
    last: Instant,
    bytes: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Write,
    Verify,
}

impl Progress {
    pub(super) fn begin(phase: Phase, total: Option<u64>) -> Self {
        let begun = Instant::now();
        Self { phase, total, begun, last: begun, bytes: 0 }
    }

    /// So many more bytes are done.
    pub(super) fn add(&mut self, bytes: u64) {
        if let Some(line) = self.line(bytes, Instant::now()) {
            tracing::info!("{line}");
        }
    }

    /// The phase is over.
    pub(super) fn end(self) {
        let elapsed = self.begun.elapsed();
        let rate = Rate::of(self.bytes, elapsed);
        tracing::info!(
            "{} {} MB in {:.1} s, {:.1} MB/s",
            self.phase.done(),
            self.bytes / MEGABYTE,
            elapsed.as_secs_f64(),
            rate.megabytes()
        );
    }

    /// What is to be told now, if it is time.
    fn line(&mut self, bytes: u64, now: Instant) -> Option<String> {
        self.bytes += bytes;
        if now.duration_since(self.last) < INTERVAL {
            return None;
        }
        self.last = now;
        let rate = Rate::of(self.bytes, now.duration_since(self.begun));
        let (doing, done, speed) = (self.phase.doing(), self.bytes / MEGABYTE, rate.megabytes());
        let Some(total) = self.total else {
            return Some(format!("{doing}: {done} MB, {speed:.1} MB/s"));
        };
        let left = match rate.time_for(total.saturating_sub(self.bytes)) {
            Some(left) => format!(", {} s left", left.as_secs()),
            None => String::new(),
        };
        Some(format!("{doing}: {done} of {} MB, {speed:.1} MB/s{left}", total / MEGABYTE))
    }
}

const MEGABYTE: u64 = 1_000_000;

/// In bytes a second.
#[derive(Debug, Clone, Copy)]
struct Rate(f64);

impl Rate {
    fn of(bytes: u64, time: Duration) -> Self {
        Self(bytes as f64 / time.as_secs_f64().max(1e-6))
    }

    fn megabytes(self) -> f64 {
        self.0 / 1e6
    }

    /// None if it takes for ever.
    fn time_for(self, bytes: u64) -> Option<Duration> {
        Duration::try_from_secs_f64(bytes as f64 / self.0).ok()
    }
}

impl Phase {
    const fn doing(self) -> &'static str {
        match self {
            Self::Write => "writing",
            Self::Verify => "verifying",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Write => "written:",
            Self::Verify => "verified:",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(total: Option<u64>) -> Vec<(u32, String)> {
        let mut progress = Progress::begin(Phase::Write, total);
        (1..=10)
            .filter_map(|step| {
                let now = progress.begun + Duration::from_millis(300) * step;
                progress.line(30 * MEGABYTE, now).map(|line| (step, line))
            })
            .collect()
    }

    #[test]
    fn a_line_a_second_says_how_fast_and_how_long() {
        assert_eq!(
            lines(Some(900 * MEGABYTE)),
            [
                (4, "writing: 120 of 900 MB, 100.0 MB/s, 7 s left".to_owned()),
                (8, "writing: 240 of 900 MB, 100.0 MB/s, 6 s left".to_owned()),
            ]
        );
    }

    #[test]
    fn without_a_total_nothing_is_foretold() {
        assert_eq!(lines(None)[0].1, "writing: 120 MB, 100.0 MB/s");
    }

    #[test]
    fn nothing_done_is_no_division_by_zero() {
        let mut progress = Progress::begin(Phase::Verify, Some(2 * MEGABYTE));
        let line = progress.line(0, progress.begun + INTERVAL).unwrap();
        assert_eq!(line, "verifying: 0 of 2 MB, 0.0 MB/s");
    }
}
