//! How long to wait before trying again.

use std::time::Duration;

use tokio::time::sleep;

/// Waits that grow, each a little different from what everybody else waits, and no end of them.
#[derive(Debug)]
pub(crate) struct Backoff {
    pace: Pace,
    tries: u32,
}

/// The first and the longest wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// gRPC's defaults go up to two minutes. But a controller takes an exporter for offline that it has
/// not heard of for a minute, part of which it may have been away itself.
impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(5) }
    }
}

impl Backoff {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, tries: 0 }
    }

    /// It has worked: the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Waits before the next try.
    pub(crate) async fn wait(&mut self) {
        sleep(self.next()).await;
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        self.by_chance(fastrand::f64())
    }

    /// The next wait; `chance` is between 0 and 1.
    fn by_chance(&mut self, chance: f64) -> Duration {
        let doublings = self.tries.min(16);
        self.tries = self.tries.saturating_add(1);
        let wait = self.pace.first.saturating_mul(2u32.pow(doublings)).min(self.pace.longest);
        wait.mul_f64(0.8 + 0.4 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_none_is_quite_the_same() {
        let mut backoff = Backoff::new(Pace::default());
        let waits: Vec<_> = (0..5).map(|_| backoff.by_chance(0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.by_chance(0.0), Duration::from_secs(4));
        assert_eq!(backoff.by_chance(1.0), Duration::from_secs(6));
        backoff.reset();
        assert_eq!(backoff.by_chance(0.5), Duration::from_secs(1));
    }
}
