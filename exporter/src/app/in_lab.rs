//! An exporter whose leases the lab of this process gives.

use tokio::sync::mpsc;

use super::exporter::{Exporter, Setup};
use crate::lab::place::Place;
use crate::lease::assigner::Assigner;
use crate::lease::scheduled::{Schedule, schedule};
use crate::lease::status::Reader;
use crate::session::listener::{Listener, Tunnel};
use crate::shutdown::Shutdown;
use crate::store::Recovery;

/// How many connections of clients may wait to be served.
const WAITING: usize = 16;

/// An exporter whose leases the lab of this process gives, and whose clients come through it.
#[derive(Debug)]
pub struct InLab {
    exporter: Exporter,
    clients: mpsc::Receiver<Tunnel>,
    place: Place,
}

impl InLab {
    /// Builds the exporter, without touching a device.
    ///
    /// # Errors
    ///
    /// Names every driver that can't be built.
    pub fn new(setup: Setup, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let mut made: Option<(Schedule, Reader)> = None;
        let assigner = |status: Reader, recovery: &Recovery| {
            let (scheduled, schedule) = schedule(status.clone(), recovery.returned());
            made = Some((schedule, status));
            Assigner::Scheduled(scheduled)
        };
        let exporter = Exporter::new(setup, shutdown, assigner)?;
        let (schedule, status) = made.expect("because every exporter makes its assigner");
        let (tunnels, clients) = mpsc::channel(WAITING);
        let place = Place { config: exporter.config(), schedule, status, tunnels };
        Ok(Self { exporter, clients, place })
    }

    /// How the lab reaches it.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Serves until it is told to stop; returns the exit code.
    pub async fn run(self, shutdown: &Shutdown) -> anyhow::Result<u8> {
        let Self { exporter, clients, .. } = self;
        exporter.run(Listener::Tunnels(clients), None, shutdown, std::future::pending()).await
    }
}
