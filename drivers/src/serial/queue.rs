//! What one listener has not heard yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;

/// How far a listener may fall behind, in bytes: more than ten seconds at 921600 baud.
pub(super) const BACKLOG: usize = 1 << 20;

/// A queue of limited length. What comes while it is full is counted and let go, until the listener
/// has taken all that it has: so nothing is missing before the gap that it is told of.
#[derive(Debug, Default)]
pub(super) struct Queue {
    unheard: Mutex<Unheard>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Unheard {
    chunks: VecDeque<Bytes>,
    /// Of all chunks together, in bytes.
    length: usize,
    /// How many bytes came after the last chunk and were let go.
    missed: u64,
}

/// What a listener takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Chunk(Bytes),
    /// So many bytes are missing here.
    Missed(u64),
    Nothing,
}

impl Queue {
    /// Adds a chunk if there is room.
    pub(super) fn push(&self, chunk: Bytes) {
        let mut unheard = self.lock();
        if unheard.missed > 0 || unheard.length + chunk.len() > BACKLOG {
            unheard.missed += chunk.len() as u64;
        } else {
            unheard.length += chunk.len();
            unheard.chunks.push_back(chunk);
        }
        drop(unheard);
        self.filled.notify_one();
    }

    /// Takes what comes next.
    pub(super) fn pop(&self) -> Heard {
        let mut unheard = self.lock();
        match unheard.chunks.pop_front() {
            Some(chunk) => {
                unheard.length -= chunk.len();
                Heard::Chunk(chunk)
            }
            None if unheard.missed > 0 => Heard::Missed(std::mem::take(&mut unheard.missed)),
            None => Heard::Nothing,
        }
    }

    /// Waits for more to come than there was at the last [`pop`](Self::pop). Cancel safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().expect("because nothing panics while it holds a queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_comes_after_all_that_was_kept_and_is_counted() {
        let queue = Queue::default();
        let half = Bytes::from(vec![b'x'; BACKLOG / 2]);
        for _ in 0..2 {
            queue.push(half.clone());
        }
        queue.push("lost".into());
        assert_eq!(queue.pop(), Heard::Chunk(half.clone()));
        queue.push("lost, too: there is room, but not in its place".into());
        assert_eq!(queue.pop(), Heard::Chunk(half));
        assert_eq!(queue.pop(), Heard::Missed(50));
        assert_eq!(queue.pop(), Heard::Nothing);
        queue.push("again".into());
        assert_eq!(queue.pop(), Heard::Chunk("again".into()));
    }

    #[tokio::test]
    async fn what_comes_between_a_look_and_the_wait_is_noticed() {
        let queue = Queue::default();
        assert_eq!(queue.pop(), Heard::Nothing);
        queue.push("x".into());
        queue.filled().await;
        assert_eq!(queue.pop(), Heard::Chunk("x".into()));
    }
}
