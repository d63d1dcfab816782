//! What was refused: counted, and told in the log as often as anybody can read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::Origin;

/// How many lines there may be in how long.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

/// Counts refusals.
#[derive(Debug, Default)]
pub struct Refusals {
    count: AtomicU64,
    ration: Mutex<Ration>,
}

/// What has been told lately.
#[derive(Debug, Default)]
struct Ration {
    began: Option<Instant>,
    lines: u32,
    silent: u64,
}

impl Refusals {
    /// A request was refused.
    pub fn note(&self, kind: &str, peer: Origin, status: &Status) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let told = self.ration.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        if let Some(silent) = told {
            let error = status.message();
            if silent > 0 {
                tracing::info!(%peer, "{silent} more refusals were too many for the log");
            }
            tracing::info!(%peer, count, error, "{kind} authentication failed");
        }
    }
}

impl Ration {
    /// Whether something may be told now; and how much has not been, if so.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= PERIOD) {
            self.began = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES {
            self.silent += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_but_does_not_flood_the_log() {
        let mut ration = Ration::default();
        let mut told = || (0..1000).filter_map(|_| ration.take(Instant::now())).collect::<Vec<_>>();
        assert_eq!(told(), vec![0; 20]);
        tokio::time::advance(PERIOD).await;
        let later = told();
        assert_eq!((later.len(), later[0], later[1]), (20, 980, 0));
    }
}
