//! The link to a Jumpstarter controller, which gives this exporter its leases, and to its routers,
//! through which clients come.
//!
//! ```text
//!              presence ── Register, Status ──► Schedule ──► lease::actor
//! controller ◄ report ◄─── ReleaseLease, ReportStatus ◄───────────┘ status
//!              listen ──── Listen, one lease long
//!                 │ a client has dialled
//! router ◄───► tunnel ◄──► session::listener ──► service
//! telemetry ◄─ telemetry ◄── session::log
//! ```
//!
//! Nothing of the lease is decided here: what the controller says is passed on as it is, and what the
//! bench does is reported as it comes. So an outage changes nothing. Whoever can't be reached is
//! tried again, for as long as it takes and with waits that are never quite the same; and since both
//! sides exchange states instead of events, whatever has changed meanwhile is put right by the first
//! word that comes through again.
//!
//! A controller that was restarted knows of no status, and one that was away has noted the exporter
//! as offline. So the exporter registers and reports again whenever its Status stream has been opened
//! anew. Response headers of Listen and of router streams come only with the first message: nothing
//! ever waits for them but what is about that message.

mod contact;
pub mod dialer;
mod listen;
mod options;
mod outage;
mod presence;
mod report;
mod target;
mod telemetry;
mod trust;
mod tunnel;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use self::contact::Contact;
pub use self::contact::{ContactError, Settings, Ways, network};
pub use self::options::doubt;
pub use self::target::{BadTarget, Target};
pub use self::trust::TrustError;
use crate::config::Config;
use crate::lease::scheduled::Schedule;
use crate::session::bench::Bench;
use crate::session::listener::Tunnel;

/// How long the controller may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How long the exporter tries to tell the controller that it goes.
pub const FAREWELL: Duration = Duration::from_secs(10);

/// How many connections of clients may wait to be served.
const WAITING: usize = 16;

/// The link between one exporter and its controller.
pub struct Link {
    config: watch::Receiver<Arc<Config>>,
    bench: Arc<Bench>,
    schedule: Schedule,
    ways: Arc<Ways>,
    tunnels: mpsc::Sender<Tunnel>,
    presence: watch::Sender<Presence>,
    telemetry: telemetry::Place,
}

/// Whether the controller is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Presence {
    is_there: bool,
    /// How often it has come, or come back.
    times: u64,
}

impl Link {
    /// A link that follows the configuration, and where its clients come in. Nothing is connected
    /// before it runs.
    pub fn new(
        ways: Arc<Ways>,
        config: watch::Receiver<Arc<Config>>,
        bench: Arc<Bench>,
        schedule: Schedule,
    ) -> (Self, mpsc::Receiver<Tunnel>) {
        let (tunnels, clients) = mpsc::channel(WAITING);
        let presence = watch::Sender::new(Presence::default());
        let telemetry = telemetry::Place::default();
        let link = Self { config, bench, schedule, ways, tunnels, presence, telemetry };
        (link, clients)
    }

    /// Keeps in touch for as long as it is polled.
    pub async fn run(&self) -> Infallible {
        let mut config = self.config.clone();
        loop {
            let settings = Settings::of(&config.borrow_and_update());
            let keep = async {
                let contact = settings.as_ref().map_err(ToString::to_string).and_then(|settings| {
                    let contact = Contact::new(settings.clone(), &*self.ways);
                    contact.map_err(|error| error.to_string())
                });
                match contact {
                    Ok(contact) => self.keep(&contact).await,
                    Err(error) => {
                        tracing::error!("no controller: {error}");
                        std::future::pending().await
                    }
                }
            };
            let others = async {
                loop {
                    if config.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    if Settings::of(&config.borrow_and_update()).ok()
                        != settings.as_ref().ok().cloned()
                    {
                        return;
                    }
                }
            };
            tokio::select! {
                never = keep => match never {},
                () = others => tracing::info!("the controller is another, or its token: connecting anew"),
            }
            self.presence.send_modify(|presence| presence.is_there = false);
        }
    }

    async fn keep(&self, contact: &Contact) -> Infallible {
        tokio::select! {
            never = presence::keep(self, contact) => never,
            never = report::keep(self, contact) => never,
            never = listen::keep(self, contact) => never,
            never = telemetry::keep(self, contact) => never,
        }
    }

    /// Tells the controller that the exporter goes, if it can be told in time.
    pub async fn farewell(&self) {
        let contact = Settings::of(&self.config.borrow())
            .and_then(|settings| Contact::new(settings, &*self.ways));
        let Ok(contact) = contact else { return };
        let farewell = async {
            report::farewell(self, &contact).await;
            telemetry::finish(self).await;
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the controller could not be told in time that the exporter goes");
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
