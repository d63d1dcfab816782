//! How long to wait before trying again.

use std::time::Duration;

use tokio::time::sleep;

/// Waits that grow, each a little different from what everybody else waits, and no end of them.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    tries: u32,
}

/// The first and the longest wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// The defaults of gRPC, except that nobody waits for a bench for two minutes.
impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, tries: 0 }
    }

    /// It has worked: the next wait is the first again.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Waits before the next try.
    pub(super) async fn wait(&mut self) {
        let wait = self.next(fastrand::f64());
        sleep(wait).await;
    }

    /// The next wait; `chance` is between 0 and 1.
    fn next(&mut self, chance: f64) -> Duration {
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
        let waits: Vec<_> = (0..7).map(|_| backoff.next(0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.next(0.0), Duration::from_secs(24));
        assert_eq!(backoff.next(1.0), Duration::from_secs(36));
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_secs(1));
    }
}
