//! The exporters of this process, as the lab reaches them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::label;
use super::refused::Refused;
use super::selector::Labels;
use crate::config::Config;
use crate::lease::scheduled::{Assignment, Schedule, Tenure, schedule};
use crate::lease::status::{Publisher, Reader, Snapshot, Status};
use crate::session::listener::Tunnel;
use crate::session::report::NAME_LABEL;

/// How long a client that has dialled waits for the exporter to begin with its lease.
const PATIENCE: Duration = Duration::from_secs(25);

/// Every exporter that the lab has, by name, whether it runs at the moment or not. Clones are the
/// same.
#[derive(Debug, Clone, Default)]
pub struct Places(watch::Sender<BTreeMap<String, Place>>);

impl Places {
    /// Keeps a place for an exporter with this configuration, which does not run yet.
    ///
    /// # Errors
    ///
    /// No lease could have its name in it.
    pub fn expect(&self, config: &Config) -> anyhow::Result<()> {
        self.enter(Place::vacant(config))
    }

    /// Takes in an exporter that is about to run.
    ///
    /// # Errors
    ///
    /// No lease could have its name in it.
    pub fn enter(&self, place: Place) -> anyhow::Result<()> {
        let name = place.name();
        ensure!(
            label::is_domain(&name) && label::check_value(&name).is_ok(),
            "the exporter {name:?} can't be leased by that name: a lab's exporters have names of \
             up to 63 lower-case letters, digits, '-' and '.'"
        );
        self.0.send_modify(|places| drop(places.insert(name, place)));
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, Place> {
        self.0.borrow().clone()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Place> {
        self.0.borrow().get(name).cloned()
    }

    /// All of them, as they come.
    pub fn follow(&self) -> watch::Receiver<BTreeMap<String, Place>> {
        self.0.subscribe()
    }
}

/// An exporter of this process.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its configuration, as it changes.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where it is told its leases.
    pub schedule: Schedule,
    /// What it is doing.
    pub status: Reader,
    /// Where its clients come in.
    pub tunnels: mpsc::Sender<Tunnel>,
}

impl Place {
    /// The place of one that does not run.
    fn vacant(config: &Config) -> Self {
        let (_, config) = watch::channel(Arc::new(config.clone()));
        let (_, status) = Publisher::new();
        let (_, schedule) = schedule(status.clone(), None);
        let (tunnels, _) = mpsc::channel(1);
        Self { config, schedule, status, tunnels }
    }

    /// What it is doing; one that does not run any more, or not yet, is offline.
    pub fn now(&self) -> Snapshot {
        let now = self.status.current();
        if self.is_vacant() {
            let message = "the exporter does not run".to_owned();
            return Snapshot { status: Status::Offline, message, ..now };
        }
        now
    }

    /// Whether nobody is there.
    pub fn is_vacant(&self) -> bool {
        self.status.is_closed()
    }

    /// Whether it is the same run of the same exporter.
    pub fn is(&self, other: &Self) -> bool {
        self.tunnels.same_channel(&other.tunnels)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.config.borrow().metadata.name.clone()
    }

    /// What it is chosen by: the configuration's labels, and its name.
    pub fn labels(&self) -> Labels {
        labels(&self.config.borrow())
    }

    /// Waits until the exporter is there for this lease.
    pub async fn open_for(&self, lease: &str) -> Result<Tenure, Refused> {
        if self.now().status == Status::Offline {
            return Err(Refused::Offline);
        }
        let mut tenure = self.schedule.tenure();
        let is_open = |open: &Option<Tenure>| {
            open.as_ref().is_some_and(|open| open.lease == lease && !open.over.is_cancelled())
        };
        let open = timeout(PATIENCE, tenure.wait_for(is_open)).await;
        let open = open.map_err(|_| Refused::NotReady)?.map_err(|_| Refused::Offline)?;
        open.clone().ok_or(Refused::NotReady)
    }

    /// Returns when this client no longer has this lease.
    pub async fn taken_from(&self, client: &str, lease: &str) {
        let mut assignment = self.schedule.assignment();
        let is_other = |said: &Assignment| match said {
            // Its end is not the end of its connections: the last hook is still to be heard.
            Assignment::Unheard | Assignment::Vacant => false,
            Assignment::Leased(claim) => claim.name == lease && claim.client != client,
        };
        if assignment.wait_for(is_other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The labels of an exporter with this configuration.
pub fn labels(config: &Config) -> Labels {
    let mut labels: Labels = config.labels.clone().into_iter().collect();
    labels.insert(NAME_LABEL.into(), config.metadata.name.clone());
    labels
}
