//! An exporter of this process, as the lab reaches it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::refused::Refused;
use super::selector::Labels;
use crate::config::Config;
use crate::lease::scheduled::{Assignment, Schedule, Tenure};
use crate::lease::status::{Reader, Status};
use crate::session::listener::Tunnel;
use crate::session::report::NAME_LABEL;

/// How long a client that has dialled waits for the exporter to begin with its lease.
const PATIENCE: Duration = Duration::from_secs(25);

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
        if self.status.current().status == Status::Offline {
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
