//! Who gives a bench its leases.

use super::Lease;
use super::machine::{Event, Fate};
use super::scheduled::Scheduled;
use super::standing::Standing;

/// Who gives a bench its leases.
#[derive(Debug)]
pub enum Assigner {
    /// Nobody: there is always one, for whoever connects.
    Standing(Standing),
    /// A scheduler outside, such as a controller.
    Scheduled(Scheduled),
}

impl Assigner {
    /// The next lease, when it is there and the bench may begin with it. Cancel safe.
    pub async fn next(&self) -> Lease {
        match self {
            Self::Standing(standing) => standing.next().await,
            Self::Scheduled(scheduled) => scheduled.next().await,
        }
    }

    /// What has become of a lease that the bench has, as soon as it is something new. Cancel safe.
    pub async fn changed(&self, lease: &Lease) -> Event {
        match self {
            Self::Standing(_) => std::future::pending().await,
            Self::Scheduled(scheduled) => scheduled.changed(lease).await,
        }
    }

    /// Whether a lease may be given to a bench that is out of service: it is handed back at once, so
    /// that its client need not wait for nothing.
    pub fn waits_for_nobody(&self) -> bool {
        match self {
            Self::Standing(_) => false,
            Self::Scheduled(_) => true,
        }
    }

    /// Returns once nobody is there who could be using the lease, so that it may end for the
    /// exporter's own purposes. One that somebody else schedules never ends like this. Cancel safe.
    pub async fn deserted(&self) {
        match self {
            Self::Standing(standing) => standing.deserted().await,
            Self::Scheduled(_) => std::future::pending().await,
        }
    }

    /// Whether the lease may end for the exporter's own purposes.
    pub fn is_deserted(&self) -> bool {
        match self {
            Self::Standing(standing) => standing.is_deserted(),
            Self::Scheduled(_) => false,
        }
    }

    /// The bench is being opened for a lease: its clients may come.
    pub fn opened(&mut self, lease: &Lease) {
        match self {
            Self::Standing(_) => {}
            Self::Scheduled(scheduled) => scheduled.opened(lease),
        }
    }

    /// Gives a lease back. What is returned is done when whoever gave it knows, or can't be reached.
    pub fn release(&mut self, lease: &Lease) -> impl Future<Output = ()> + Send + use<> {
        let told = match self {
            Self::Standing(_) => None,
            Self::Scheduled(scheduled) => Some(scheduled.release(lease)),
        };
        async move {
            if let Some(told) = told {
                told.await;
            }
        }
    }

    /// A lease has been given back.
    pub fn released(&mut self, fate: Fate) {
        match self {
            Self::Standing(standing) => standing.released(fate),
            Self::Scheduled(_) => {}
        }
    }

    /// Nothing is left of the lease but clients that may still look at how it has ended.
    pub fn closed(&mut self) {
        match self {
            Self::Standing(_) => {}
            Self::Scheduled(scheduled) => scheduled.closed(),
        }
    }
}
