//! An exporter whose leases a controller gives.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::exporter::{Exporter, Setup};
use crate::controller::{self, Link, Settings, Ways};
use crate::lease::assigner::Assigner;
use crate::lease::scheduled::{Schedule, schedule};
use crate::lease::status::Reader;
use crate::session::bench::Bench;
use crate::session::listener::{Listener, Tunnel};
use crate::shutdown::Shutdown;
use crate::store::Recovery;

/// An exporter whose leases a controller gives, and whose clients come through its routers.
#[derive(Debug)]
pub struct Controlled {
    exporter: Exporter,
    link: Link,
    clients: mpsc::Receiver<Tunnel>,
}

impl Controlled {
    /// Builds the exporter, without touching a device or the network.
    ///
    /// # Errors
    ///
    /// Names what is missing to be scheduled by a controller, or every driver that can't be built.
    pub fn new(setup: Setup, shutdown: &Shutdown) -> anyhow::Result<Self> {
        Self::by(Arc::new(controller::network), setup, shutdown)
    }

    /// As [`new`](Self::new), where the controller is reached by other ways than the network.
    pub(crate) fn by(ways: Arc<Ways>, setup: Setup, shutdown: &Shutdown) -> anyhow::Result<Self> {
        Settings::of(&setup.config)?;
        let mut made: Option<Schedule> = None;
        let assigner = |status: Reader, recovery: &Recovery| {
            let (scheduled, schedule) = schedule(status, recovery.returned());
            made = Some(schedule);
            Assigner::Scheduled(scheduled)
        };
        let exporter = Exporter::new(setup, shutdown, assigner)?;
        let schedule = made.expect("because every exporter makes its assigner");
        let bench = Arc::clone(&exporter.bench);
        let (link, clients) = Link::new(ways, exporter.config(), bench, schedule);
        Ok(Self { exporter, link, clients })
    }

    /// What its clients reach.
    pub fn bench(&self) -> &Arc<Bench> {
        &self.exporter.bench
    }

    /// Serves until it is told to stop; returns the exit code.
    pub async fn run(self, shutdown: &Shutdown) -> anyhow::Result<u8> {
        let Self { exporter, link, clients } = self;
        let listener = Listener::Tunnels(clients);
        let code = Box::pin(exporter.run(listener, None, shutdown, link.run())).await?;
        // Whoever is told to stop at once doesn't wait for the network.
        shutdown.abort.run_until_cancelled(link.farewell()).await;
        Ok(code)
    }
}
