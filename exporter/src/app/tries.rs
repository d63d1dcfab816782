//! When an exporter that fails is no longer started again.

use std::time::Duration;

use crate::config::FailureDetection;

/// What there is to know of earlier failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tries {
    /// How many in a row were rapid.
    rapid: u32,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is started again.
    Again {
        /// How many rapid failures there were in a row; none if this was not one.
        rapid: u32,
    },
    /// It would only fail again.
    Enough {
        /// How many rapid failures there were in a row.
        rapid: u32,
    },
}

impl Tries {
    /// Judges a failure after such a life. As in the reference, one that has lived for the whole window
    /// begins anew.
    pub(super) fn failed(&mut self, life: Duration, detection: FailureDetection) -> Verdict {
        let FailureDetection { max_rapid_failures, rapid_failure_window } = detection;
        self.rapid = if life < rapid_failure_window { self.rapid.saturating_add(1) } else { 0 };
        let rapid = self.rapid;
        if rapid > 0 && rapid >= max_rapid_failures {
            Verdict::Enough { rapid }
        } else {
            Verdict::Again { rapid }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_while_each_comes_soon_after_its_start() {
        let window = Duration::from_secs(60);
        let detection = FailureDetection { max_rapid_failures: 3, rapid_failure_window: window };
        let judged = |lives: &[u64]| {
            let mut tries = Tries::default();
            let verdicts =
                lives.iter().map(|life| tries.failed(Duration::from_secs(*life), detection));
            verdicts.last().unwrap()
        };
        assert_eq!(judged(&[0]), Verdict::Again { rapid: 1 });
        assert_eq!(judged(&[0, 59, 1]), Verdict::Enough { rapid: 3 });
        assert_eq!(judged(&[0, 0, 60]), Verdict::Again { rapid: 0 });
        assert_eq!(judged(&[0, 0, 60, 0, 0]), Verdict::Again { rapid: 2 });
    }

    #[test]
    fn numbers_that_mean_nothing_are_taken_as_the_reference_takes_them() {
        let judged = |max_rapid_failures, window| {
            let rapid_failure_window = Duration::from_secs(window);
            let detection = FailureDetection { max_rapid_failures, rapid_failure_window };
            Tries::default().failed(Duration::ZERO, detection)
        };
        assert_eq!(judged(0, 60), Verdict::Enough { rapid: 1 }, "one try is made");
        assert_eq!(judged(1, 60), Verdict::Enough { rapid: 1 });
        assert_eq!(judged(1, 0), Verdict::Again { rapid: 0 }, "no failure is rapid");
    }
}
