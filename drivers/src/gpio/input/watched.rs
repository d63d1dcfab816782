//! An input that is held, and whoever waits for it.
//!
//! Nobody blocks a thread and nothing runs while nobody waits: the kernel records the edges. Whoever
//! waits reads them for all that wait.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::super::chip::{Chips, Edge, HeldLine as _, Level};
use super::super::held::LIMIT;
use super::super::request::Wanted;
use super::edges::Edges;
use crate::{Result, blocking, readiness};

/// An input line.
pub(super) struct Watched<C: Chips> {
    wanted: Wanted,
    line: Arc<C::Line>,
    /// Another descriptor of the same line.
    ready: AsyncFd<OwnedFd>,
    edges: Mutex<Edges>,
    /// Edges have been read.
    news: Notify,
}

impl<C: Chips> Watched<C> {
    /// Watches a line that was requested as an input.
    pub(super) fn new(wanted: Wanted, line: C::Line) -> Result<Self> {
        let ready = line.as_fd().try_clone_to_owned().and_then(readiness::watch);
        let ready = ready.map_err(|error| wanted.failure("watch", error))?;
        let (edges, news) = (Mutex::default(), Notify::new());
        Ok(Self { wanted, line: Arc::new(line), ready, edges, news })
    }

    /// Where the line is.
    pub(super) async fn level(&self) -> Result<Level> {
        let (line, wanted) = (Arc::clone(&self.line), self.wanted.clone());
        let read = move || line.level().map_err(|error| wanted.failure("read", error));
        blocking::run(&format!("read GPIO line {}", self.wanted.line), LIMIT, read).await
    }

    /// Returns once the line is at this level, or was for a moment.
    pub(super) async fn wait_for_level(&self, level: Level) -> Result<()> {
        self.read_edges()?;
        let start = self.lock().skip();
        if self.level().await? == level {
            return Ok(());
        }
        let edge = match level {
            Level::Active => Edge::Rising,
            Level::Inactive => Edge::Falling,
        };
        self.wait(edge, start).await
    }

    /// Returns once the line has such an edge: also one that came since the driver was opened, or
    /// since the last wait ended.
    pub(super) async fn wait_for_edge(&self, edge: Edge) -> Result<()> {
        let start = self.lock().unseen();
        self.wait(edge, start).await
    }

    async fn wait(&self, edge: Edge, start: u64) -> Result<()> {
        loop {
            let mut news = pin!(self.news.notified());
            // From here on, what somebody else reads is noticed.
            news.as_mut().enable();
            self.read_edges()?;
            if self.lock().take(edge, start) {
                return Ok(());
            }
            let more = self.ready.async_io(Interest::READABLE, |_| match self.drain() {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            });
            tokio::select! {
                () = news => {}
                read = more => read.map_err(|error| self.wanted.failure("watch", error))?,
            }
        }
    }

    fn read_edges(&self) -> Result<()> {
        self.drain().map(drop).map_err(|error| self.wanted.failure("watch", error))
    }

    /// Reads the edges that the kernel has recorded; returns how many.
    fn drain(&self) -> io::Result<usize> {
        let mut count = 0;
        let mut edges = self.lock();
        while let Some(edge) = self.line.next_edge()? {
            edges.push(edge);
            count += 1;
        }
        if count > 0 {
            self.news.notify_waiters();
        }
        Ok(count)
    }

    fn lock(&self) -> MutexGuard<'_, Edges> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Chips> fmt::Debug for Watched<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;

    use futures_util::poll;

    use super::super::super::chip::Bias;
    use super::super::super::config::Line;
    use super::super::super::fake::Board;
    use super::*;
    use crate::DriverError;

    fn watched(board: &Board, active_low: bool) -> Watched<Board> {
        let wanted = Wanted { device: None, line: Line::Offset(1), active_low, bias: Bias::AsIs };
        let line = wanted.input(board).unwrap();
        Watched::new(wanted, line).unwrap()
    }

    /// A wait that has begun and has nothing to end it yet.
    async fn begun<F: Future>(wait: F) -> std::pin::Pin<Box<F>> {
        let mut wait = Box::pin(wait);
        assert!(poll!(&mut wait).is_pending());
        wait
    }

    #[tokio::test]
    async fn a_level_that_is_there_needs_no_edge() {
        let (board, low) = (Board::default(), true);
        let input = watched(&board, low);
        assert_eq!(input.level().await.unwrap(), Level::Active);
        input.wait_for_level(Level::Active).await.unwrap();
    }

    #[tokio::test]
    async fn old_edges_are_not_taken_for_a_level() {
        let board = Board::default();
        let input = watched(&board, false);
        board.pull(1, true);
        board.pull(1, false);
        let level = input.wait_for_level(Level::Active);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(30), level).await;
        assert!(waited.is_err(), "the pulse was over before");
    }

    #[tokio::test]
    async fn an_edge_ends_every_wait_for_it() {
        let board = Board::default();
        let input = watched(&board, false);
        let one = begun(input.wait_for_edge(Edge::Rising)).await;
        let other = begun(input.wait_for_edge(Edge::Rising)).await;
        let mut falling = begun(input.wait_for_edge(Edge::Falling)).await;
        board.pull(1, true);
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() && other.is_ok());
        assert!(matches!(poll!(&mut falling), Poll::Pending));
        board.pull(1, false);
        falling.await.unwrap();
    }

    #[tokio::test]
    async fn an_edge_that_came_before_the_wait_counts_once() {
        let board = Board::default();
        let input = watched(&board, false);
        board.pull(1, true);
        input.wait_for_edge(Edge::Rising).await.unwrap();
        let again = begun(input.wait_for_edge(Edge::Rising)).await;
        board.pull(1, false);
        board.pull(1, true);
        again.await.unwrap();
    }

    #[tokio::test]
    async fn a_chip_that_is_unplugged_ends_the_wait() {
        let board = Board::default();
        let input = watched(&board, false);
        let wait = begun(input.wait_for_edge(Edge::Rising)).await;
        board.unplug();
        let error = wait.await.unwrap_err();
        assert!(matches!(error, DriverError::Disconnected(_)), "{error}");
    }
}
