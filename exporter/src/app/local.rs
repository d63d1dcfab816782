//! A bench for processes of this host.

use std::path::PathBuf;

use anyhow::Context as _;

use super::without_leases;
use crate::config::Config;
use crate::lease::status::{Publisher, Status};
use crate::session::admission::Origin;
use crate::session::bench::Bench;
use crate::session::door::Door;
use std::sync::Arc;

/// A bench for processes of this host, without a lease.
#[derive(Debug)]
pub struct Local {
    bench: Arc<Bench>,
    door: Door,
    /// Says that the bench may be used, for as long as it is kept.
    _publisher: Publisher,
}

impl Local {
    /// Opens the devices and a socket to them.
    ///
    /// # Errors
    ///
    /// Names the driver that can't be built or opened.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let (publisher, bench) = without_leases(config, None)?;
        bench.tree().open().await?;
        let door = Door::open(&bench, Origin::Client).context("can't open a socket")?;
        publisher.publish(Status::LeaseReady, String::new());
        Ok(Self { bench, door, _publisher: publisher })
    }

    /// What `JUMPSTARTER_HOST` has to be.
    pub fn socket(&self) -> PathBuf {
        self.door.socket()
    }

    /// The directory in which `j` is.
    pub fn programs(&self) -> PathBuf {
        self.door.programs()
    }

    /// Closes the devices.
    pub async fn close(self) {
        self.bench.serving.cancel();
        self.bench.tree().close().await;
    }
}
