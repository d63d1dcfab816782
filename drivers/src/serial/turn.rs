//! Who may write to a port: one stream at a time.
//!
//! A stream begins its turn with the first bytes that it sends, and ends it by saying that it has
//! sent its last, or by ending itself. A stream that only listens never has a turn. Whoever writes
//! out of turn is told so; nothing of it is sent, nor kept for later. [`take_over`](Turns::take_over)
//! ends the turn of a stream that doesn't.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::{DriverError, Result};

/// The turns of one port's streams.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many streams there have been.
    streams: u64,
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    stream: u64,
    since: Instant,
}

/// What a stream has to show for itself.
#[derive(Debug)]
pub(super) struct Turn {
    stream: u64,
    /// Whether the stream had a turn that it has not ended itself.
    begun: bool,
}

impl Turns {
    /// A stream that has not written yet.
    pub(super) fn stream(&self) -> Turn {
        let mut state = self.lock();
        state.streams += 1;
        Turn { stream: state.streams, begun: false }
    }

    /// It is the stream's turn from here on, if it is nobody else's. `port` is its name in errors.
    pub(super) fn take(&self, turn: &mut Turn, port: &str) -> Result<()> {
        let mut state = self.lock();
        match &state.writing {
            Some(writing) if writing.stream == turn.stream => {}
            _ if turn.begun => {
                return Err(DriverError::Busy(format!(
                    "another stream took over writing to {port}"
                )));
            }
            Some(writing) => {
                return Err(DriverError::Busy(format!(
                    "another stream is writing to {port}, for {:.0?} now; it has the turn until it \
                     ends or is taken over",
                    writing.since.elapsed()
                )));
            }
            None => {
                state.writing = Some(Writing { stream: turn.stream, since: Instant::now() });
                turn.begun = true;
            }
        }
        Ok(())
    }

    /// The stream has written its last, for now.
    pub(super) fn leave(&self, turn: &mut Turn) {
        let mut state = self.lock();
        if state.writing.as_ref().is_some_and(|writing| writing.stream == turn.stream) {
            state.writing = None;
            turn.begun = false;
        }
    }

    /// For how long somebody has been writing; none if nobody is.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        self.lock().writing.as_ref().map(|writing| writing.since.elapsed())
    }

    /// Ends the turn of whoever has it, and doesn't give it another.
    pub(super) fn take_over(&self) {
        self.lock().writing = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("because nothing panics while it holds the turns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_stream_writes_at_a_time() {
        let turns = Turns::default();
        let (mut one, mut two) = (turns.stream(), turns.stream());
        let take = |turn: &mut Turn| turns.take(turn, "ttyUSB0").map_err(|error| error.to_string());
        assert_eq!(turns.busy_for(), None);
        take(&mut one).unwrap();
        tokio::time::advance(Duration::from_secs(12)).await;
        take(&mut one).unwrap();
        assert_eq!(turns.busy_for(), Some(Duration::from_secs(12)));
        assert_eq!(
            take(&mut two).unwrap_err(),
            "another stream is writing to ttyUSB0, for 12s now; it has the turn until it ends or \
             is taken over"
        );
        turns.leave(&mut two);
        assert!(take(&mut two).is_err());
        turns.leave(&mut one);
        take(&mut two).unwrap();
        assert!(take(&mut one).is_err());
    }

    #[test]
    fn who_was_taken_over_from_has_no_turn_any_more() {
        let turns = Turns::default();
        let (mut one, mut two) = (turns.stream(), turns.stream());
        turns.take(&mut one, "ttyUSB0").unwrap();
        turns.take_over();
        let error = turns.take(&mut one, "ttyUSB0").unwrap_err();
        assert_eq!(error.to_string(), "another stream took over writing to ttyUSB0");
        turns.take(&mut two, "ttyUSB0").unwrap();
        turns.leave(&mut one);
        assert!(turns.busy_for().is_some());
    }
}
