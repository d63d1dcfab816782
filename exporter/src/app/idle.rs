//! What people of this host see and can ask of an exporter that does not run at the moment.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;

use tokio::sync::{mpsc, watch};

use crate::control::{self, Desk};
use crate::lease::actor::LeaseHandle;
use crate::lease::overview::Overview;
use crate::lease::status::{Publisher, Status};
use crate::reload::{Reloads, Request};
use crate::shutdown::Shutdown;
use crate::state::ExporterDir;
use crate::store::{Reservation, Store};

/// Stands in for an exporter that does not run.
pub(super) struct Idle {
    requests: mpsc::Receiver<Request>,
    /// Answers at the control socket.
    serving: Pin<Box<dyn Future<Output = io::Result<Infallible>> + Send>>,
}

impl Idle {
    /// Says in its place that it is offline, and why. Where nobody can be told, because the exporter's
    /// state directory is not known or another process has it, that is left out.
    pub(super) fn new(directory: Option<ExporterDir>, why: String, shutdown: &Shutdown) -> Self {
        let (reloads, requests) = Reloads::new();
        let reserved = directory.and_then(|directory| {
            let reservation = Store::reserve(&directory.dir).ok()?;
            Some((directory, reservation))
        });
        let shutdown = shutdown.clone();
        let serving = Box::pin(async move {
            match reserved {
                Some((directory, reservation)) => {
                    serve(directory, reservation, why, reloads, shutdown).await
                }
                None => std::future::pending().await,
            }
        });
        Self { requests, serving }
    }

    /// Waits until somebody asks to have the configuration read again. Cancel safe.
    pub(super) async fn asked(&mut self) -> Request {
        tokio::select! {
            Some(request) = self.requests.recv() => return request,
            failed = &mut self.serving => {
                let Err(error) = failed;
                tracing::warn!("can't answer in the exporter's place: {error}");
            }
        }
        self.serving = Box::pin(std::future::pending());
        std::future::pending().await
    }
}

async fn serve(
    directory: ExporterDir,
    _reservation: Reservation,
    why: String,
    reloads: Reloads,
    shutdown: Shutdown,
) -> io::Result<Infallible> {
    let ExporterDir { exporter, dir } = directory;
    let (publisher, status) = Publisher::new();
    publisher.publish(Status::Offline, why);
    // Who has the bench is in the store, for the exporter itself.
    let (_keeps, overview) = watch::channel(Overview::default());
    let lease = LeaseHandle::default();
    let desk = Desk { exporter, status, overview, lease, reloads, shutdown };
    control::serve(&dir, desk).await?;
    Err(io::Error::other("the control socket has closed"))
}
