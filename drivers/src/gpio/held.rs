//! A line that is driven, held for as long as its driver lives.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::chip::{Chips, Drive, HeldLine as _, Level};
use super::request::Wanted;
use crate::power::switch::AtOpen;
use crate::{DriverError, Result, blocking};

/// How long the kernel may take. A chip behind USB or I²C takes a few milliseconds.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// An output line.
#[derive(Debug)]
pub(super) struct Held<C: Chips> {
    pub(super) wanted: Wanted,
    drive: Drive,
    at_open: AtOpen,
    chips: C,
    /// None until the first opening, and after the chip has gone.
    line: Mutex<Option<Arc<C::Line>>>,
}

impl<C: Chips> Held<C> {
    pub(super) fn new(chips: C, wanted: Wanted, drive: Drive, at_open: AtOpen) -> Self {
        Self { wanted, drive, at_open, chips, line: Mutex::default() }
    }

    /// Takes hold of the line if that was not done yet, and gives it the level that the
    /// configuration wants whenever a bench is opened.
    pub(super) async fn open(&self) -> Result<()> {
        let mut held = self.line.lock().await;
        if let Some(line) = held.as_ref() {
            match self.put(Arc::clone(line), self.at_open).await {
                // It was plugged in again since.
                Err(DriverError::Disconnected(_)) => *held = None,
                done => return done,
            }
        }
        let (wanted, chips) = (self.wanted.clone(), self.chips.clone());
        let (drive, at_open) = (self.drive, self.at_open);
        let what = format!("take GPIO line {}", self.wanted.line);
        let take = move || wanted.output(&chips, drive, at_open);
        *held = Some(Arc::new(blocking::run(&what, LIMIT, take).await?));
        Ok(())
    }

    /// Drives the line.
    pub(super) async fn set(&self, level: Level) -> Result<()> {
        self.with("set", move |line| line.set(level)).await
    }

    /// Reads the line back.
    pub(super) async fn level(&self) -> Result<Level> {
        self.with("read", C::Line::level).await
    }

    async fn put(&self, line: Arc<C::Line>, at_open: AtOpen) -> Result<()> {
        let work = move |line: &C::Line| match at_open {
            AtOpen::On => line.set(Level::Active),
            AtOpen::Off => line.set(Level::Inactive),
            // Tells whether the chip is still there.
            AtOpen::Keep => line.level().map(drop),
        };
        self.run("set", line, work).await
    }

    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&C::Line) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let line = self.line.lock().await.clone();
        let closed =
            || DriverError::Disconnected(format!("GPIO line {} is not held", self.wanted.line));
        self.run(what, line.ok_or_else(closed)?, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        line: Arc<C::Line>,
        work: impl FnOnce(&C::Line) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let wanted = self.wanted.clone();
        let context = format!("{what} GPIO line {}", wanted.line);
        let work = move || work(&line).map_err(|error| wanted.failure(what, error));
        blocking::run(&context, LIMIT, work).await
    }
}
