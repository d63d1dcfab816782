//! What clients and hooks reach: the protocol's services, the devices behind them, and the sockets
//! in front.
//!
//! ```text
//! listener ──► authority ──► service ──► admission ──► tree ──► device
//!                               │
//!                               ├──► stream, resource   bytes between clients and drivers
//!                               └──► log                what hooks, drivers and the exporter say
//! ```

pub mod admission;
pub mod authority;
pub mod bench;
pub(crate) mod connection;
pub mod door;
pub mod failure;
pub mod frame;
pub mod handle;
pub mod listener;
pub mod log;
pub mod marks;
pub mod peer;
pub mod presigned;
pub mod report;
pub mod resource;
pub mod service;
pub mod stream;

use std::sync::Arc;

use self::admission::Origin;
use self::bench::Bench;
use self::door::Door;
use crate::lease::Lease;
use crate::lifecycle::Scene;

/// What one lease has open. Dropping it unlinks the hooks' socket and ends what came through it;
/// the devices are closed before that, by whoever owns the lease.
#[derive(Debug)]
pub struct Session {
    scene: Scene,
    /// None if there are no hooks.
    door: Option<Arc<Door>>,
}

impl Session {
    /// Opens the bench's devices and, if there are hooks, a socket for them.
    ///
    /// # Errors
    ///
    /// Says which device or socket could not be opened, and why. The devices are closed again.
    pub async fn open(bench: Arc<Bench>, lease: Lease, hooks: bool) -> Result<Self, String> {
        bench.mark(&marks::of_lease(&lease));
        bench.tree().open().await.map_err(|error| error.to_string())?;
        bench.offer(|_| true);
        match hooks.then(|| Door::open(&bench, Origin::Hook)).transpose() {
            Ok(door) => Ok(Self::behind(door, Some(lease))),
            Err(error) => {
                bench.tree().close().await;
                Err(format!("no socket for the hooks: {error}"))
            }
        }
    }

    /// Opens the devices at the paths that `which` says for the exporter's own hooks, while nobody
    /// has the bench. One that can't be opened is told: a hook may be there to repair it.
    pub async fn open_between_leases(bench: &Arc<Bench>, which: impl Fn(&str) -> bool) -> Self {
        bench.offer(&which);
        for error in bench.tree().open_what_works(which).await {
            tracing::warn!("{error}");
        }
        let door = Door::open(bench, Origin::Hook);
        if let Err(error) = &door {
            tracing::error!("the hooks do without `j`: no socket for them: {error}");
        }
        Self::behind(door.ok(), None)
    }

    fn behind(door: Option<Door>, lease: Option<Lease>) -> Self {
        let entrance = door.as_ref().map(Door::entrance);
        Self { scene: Scene { lease, entrance }, door: door.map(Arc::new) }
    }

    /// The same session, for another client of the same lease.
    #[must_use]
    pub fn handed_to(&self, client: String) -> Self {
        let lease = self.scene.lease.clone().map(|lease| Lease { client, ..lease });
        Self { scene: Scene { lease, ..self.scene.clone() }, door: self.door.clone() }
    }

    /// Where hooks run.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }
}
