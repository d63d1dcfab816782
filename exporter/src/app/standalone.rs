//! An exporter without a controller.

use std::sync::Arc;

use super::exporter::{Exporter, Setup};
use crate::lease::assigner::Assigner;
use crate::lease::standing::Standing;
use crate::secret::Secret;
use crate::session::bench::Bench;
use crate::session::listener::Listener;
use crate::shutdown::Shutdown;

/// An exporter that serves clients on a listener of its own, without a controller.
#[derive(Debug)]
pub struct Standalone(Exporter);

impl Standalone {
    /// Builds the exporter, without touching a device.
    ///
    /// # Errors
    ///
    /// Names every driver that can't be built.
    pub fn new(setup: Setup, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let standing = |status, _: &_| Assigner::Standing(Standing::new(status));
        Exporter::new(setup, shutdown, standing).map(Self)
    }

    /// What its clients reach.
    pub fn bench(&self) -> &Arc<Bench> {
        &self.0.bench
    }

    /// Serves until it is told to stop; returns the exit code.
    pub async fn run(
        self,
        listener: Listener,
        passphrase: Option<Secret>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<u8> {
        self.0.run(listener, passphrase, shutdown, std::future::pending()).await
    }
}
