//! Leases without a controller: one after the other, to whoever connects.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use uuid::Uuid;

use super::Lease;
use super::machine::Fate;
use super::status::Reader;

/// How long a client may take to see how its lease has ended before the next one begins. Clients
/// that wait for it ask every 0.1 to 0.3 s.
pub const LINGER: Duration = Duration::from_secs(1);

/// The shortest and the longest pause after a lease that could not be made ready.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Gives the standing lease, again and again.
#[derive(Debug)]
pub struct Standing {
    status: Reader,
    last: Option<Last>,
}

/// The lease before this one.
#[derive(Debug, Clone, Copy)]
struct Last {
    fate: Fate,
    released: Instant,
    /// How many leases in a row could not be made ready.
    failures: u32,
    /// Who connected later than this has not seen it fail.
    mark: u64,
}

impl Standing {
    /// A first lease, to be given at once.
    pub fn new(status: Reader) -> Self {
        Self { status, last: None }
    }

    /// The next lease, when it is time for it. After a failure that is when somebody comes who
    /// could be told of the next one, or else after a pause that grows. Cancel safe.
    pub async fn next(&self) -> Lease {
        if let Some(last) = self.last {
            timeout_at(last.released + LINGER, self.status.seen_by_all()).await.ok();
            match last.fate {
                Fate::Served | Fate::Last => {}
                Fate::Failed => {
                    sleep_until(last.released + FIRST_PAUSE).await;
                    let latest = last.released + pause(last.failures);
                    timeout_at(latest, self.status.newcomer(last.mark)).await.ok();
                }
            }
        }
        Lease {
            id: Uuid::new_v4(),
            name: "standalone".into(),
            client: String::new(),
            context: BTreeMap::new(),
        }
    }

    /// Returns once nobody is there who could be using the standing lease, so that it may end for
    /// the exporter's own purposes. Cancel safe.
    pub async fn deserted(&self) {
        self.status.deserted().await;
    }

    /// Whether nobody is there who could be using the standing lease.
    pub fn is_deserted(&self) -> bool {
        self.status.is_deserted()
    }

    /// A lease is over.
    pub fn released(&mut self, fate: Fate) {
        let failures = match fate {
            Fate::Served | Fate::Last => 0,
            Fate::Failed => self.last.map_or(0, |last| last.failures).saturating_add(1),
        };
        let (released, mark) = (Instant::now(), self.status.mark());
        self.last = Some(Last { fate, released, failures, mark });
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::status::{Publisher, Status};

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let pauses: Vec<_> = (1..=8).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_lease_waits_until_the_end_of_the_last_was_seen() {
        let (publisher, reader) = Publisher::new();
        let mut standing = Standing::new(reader.clone());
        let start = Instant::now();
        standing.next().await;
        standing.released(Fate::Served);
        standing.next().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody is there to see it");

        let follower = reader.viewer();
        follower.saw(&reader.current());
        publisher.publish(Status::Available, String::new());
        standing.released(Fate::Served);
        standing.next().await;
        assert_eq!(start.elapsed(), LINGER, "a follower gets the time to see it");
        standing.released(Fate::Served);
        follower.saw(&reader.current());
        standing.next().await;
        assert_eq!(start.elapsed(), LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn after_failures_it_tries_again_for_whoever_comes() {
        let (_publisher, reader) = Publisher::new();
        let mut standing = Standing::new(reader.clone());
        let start = Instant::now();
        for _ in 0..4 {
            standing.released(Fate::Failed);
        }
        standing.next().await;
        assert_eq!(start.elapsed(), pause(4));

        let newcomer = reader.viewer();
        newcomer.saw(&reader.current());
        let start = Instant::now();
        standing.released(Fate::Failed);
        standing.next().await;
        assert_eq!(start.elapsed(), pause(5), "who saw the failure is no newcomer");

        let start = Instant::now();
        standing.released(Fate::Failed);
        let newcomer = reader.viewer();
        newcomer.saw(&reader.current());
        standing.next().await;
        assert_eq!(start.elapsed(), FIRST_PAUSE);
    }
}
