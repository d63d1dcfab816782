//! What every exporter is made of, whoever gives it its leases.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{panicked, unbuilt};
use crate::activity;
use crate::config::Config;
use crate::control::{self, Desk};
use crate::lease::actor::{self, Actor, LeaseHandle};
use crate::lease::assigner::Assigner;
use crate::lease::ledger::Ledger;
use crate::lease::machine::journal::Progress;
use crate::lease::overview::Overview;
use crate::lease::status::{Publisher, Reader, Status};
use crate::lifecycle::{Drivers, Lifecycle, Setting};
use crate::reload::Reloader;
use crate::secret::Secret;
use crate::session::admission::Origin;
use crate::session::bench::{Bench, Parts};
use crate::session::listener::{self, Listener};
use crate::session::log::Log;
use crate::shutdown::Shutdown;
use crate::state;
use crate::store::{Recovery, Store, StoreError};

/// How long tasks that move bytes may take to notice that it is over.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What makes an exporter.
#[derive(Debug)]
pub struct Setup {
    /// What it is to be.
    pub config: Config,
    /// Where that was read.
    pub file: PathBuf,
    /// It stops after its first lease, whatever the configuration says.
    pub exit_on_lease_end: bool,
    /// What it remembers, and where; none: nothing.
    pub state: Option<State>,
}

/// What an exporter remembers, and where.
#[derive(Debug)]
pub struct State {
    /// Its directory.
    pub directory: PathBuf,
    /// What is kept there.
    pub store: Store,
    /// What the last process has left there.
    pub recovery: Recovery,
}

impl State {
    /// Takes an exporter's state directory for this process.
    ///
    /// # Errors
    ///
    /// Why it can't be used.
    pub fn open(directory: PathBuf) -> Result<Self, StoreError> {
        let (store, recovery) = Store::open(&directory)?;
        Ok(Self { directory, store, recovery })
    }
}

/// Says what goes on whenever somebody wants to know.
async fn tell(
    bench: Arc<Bench>,
    overview: watch::Receiver<Overview>,
    mut looks: watch::Receiver<()>,
) {
    while looks.changed().await.is_ok() {
        let now = bench.status.current();
        let since = Timestamp::now().duration_since(now.since).unsigned_abs();
        let (status, since) = (now.status, activity::in_words(since));
        activity::say(&format!("{status} for {since}: {}", now.message));
        if let Some(lease) = &overview.borrow().lease {
            activity::say(&format!("- lease {} of {}", lease.name, lease.client));
        }
        for line in bench.activity.lines() {
            activity::say(&format!("- {line}"));
        }
        let (clients, tasks) = (bench.status.clients(), bench.tasks.len());
        activity::say(&format!(
            "- {clients} connections of clients, {tasks} tasks that move bytes"
        ));
    }
}

/// Whether an earlier process has left a lease that is not over.
fn owes(recovery: &Recovery) -> bool {
    recovery.lease.as_ref().is_some_and(|(_, progress)| match progress {
        Progress::Preparing | Progress::Prepared(_) | Progress::CleaningUp(..) => true,
        Progress::Over => false,
    })
}

/// An exporter.
#[derive(Debug)]
pub(super) struct Exporter {
    /// What its clients reach.
    pub(super) bench: Arc<Bench>,
    actor: Actor,
    serving: CancellationToken,
    reloader: Reloader,
    /// What the bench is about.
    overview: watch::Receiver<Overview>,
    /// What people of this host can ask of it, and where; none without a state directory.
    desk: Option<(PathBuf, Desk)>,
}

impl Exporter {
    /// Builds the exporter, without touching a device. `assigner` is made for the status that is
    /// shown, and for what an earlier process has left.
    ///
    /// # Errors
    ///
    /// Names every driver that can't be built.
    pub(super) fn new(
        setup: Setup,
        shutdown: &Shutdown,
        assigner: impl FnOnce(Reader, &Recovery) -> Assigner,
    ) -> anyhow::Result<Self> {
        let Setup { config, file, exit_on_lease_end, state } = setup;
        let (directory, store, recovery) = match state {
            Some(State { directory, store, recovery }) => (Some(directory), store, recovery),
            None => (None, Store::none(), Recovery::default()),
        };
        let done = recovery.stages.clone();
        let drivers = Drivers::recovered(&recovery.drivers, done, store.clone());
        let (publisher, status) = Publisher::new();
        if owes(&recovery) {
            // Nobody else is to be sent here before that is done.
            let message = "Opening the bench again after a restart".to_owned();
            publisher.publish(Status::BeforeLeaseHook, message);
        }
        let handle = LeaseHandle::default();
        let serving = CancellationToken::new();
        let parts = Parts {
            name: Some(config.metadata.name.clone()),
            motd: config.motd.clone().unwrap_or_default(),
            tree: drivers.tree(&config).map_err(|errors| unbuilt(&errors))?,
            status: status.clone(),
            log: Log::default(),
            lease: Some(handle.clone()),
        };
        let bench = Bench::new(parts, serving.clone());
        let exporter = config.metadata.name.clone();
        let (reloader, reloads) = Reloader::new(file, Arc::new(config));
        let lifecycle = Lifecycle::new(Setting {
            bench: Arc::clone(&bench),
            store: store.clone(),
            logs: directory.as_deref().map(state::hook_logs),
            exit_on_lease_end,
            drivers,
            config: reloader.config(),
        });
        let assigner = assigner(status.clone(), &recovery);
        let ledger = Ledger::new(store, recovery);
        let overview = ledger.overview();
        let lease = handle.clone();
        let parts = actor::Parts {
            bench: Arc::clone(&bench),
            publisher,
            lifecycle,
            handle,
            ledger,
            assigner,
        };
        let actor = Actor::new(parts);
        let shutdown = shutdown.clone();
        let known = overview.clone();
        let desk = Desk { exporter, status, overview, lease, reloads, shutdown };
        let desk = directory.map(|directory| (directory, desk));
        Ok(Self { bench, actor, serving, reloader, overview: known, desk })
    }

    /// Its configuration, as it changes.
    pub(super) fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.reloader.config()
    }

    /// Serves on `listener` until it is told to stop, beside the `link` to whoever gives it its
    /// leases; returns the exit code.
    ///
    /// # Errors
    ///
    /// Why it can't go on; a panic is such a reason, too. Nothing of it is left running then, and its
    /// devices are closed, so that it can be started again.
    pub(super) async fn run(
        self,
        listener: Listener,
        passphrase: Option<Secret>,
        shutdown: &Shutdown,
        link: impl Future<Output = Infallible>,
    ) -> anyhow::Result<u8> {
        let Self { bench, actor, serving, reloader, overview, desk } = self;
        if let Some((directory, _)) = &desk {
            bench.record_in(directory.clone());
        }
        // Also where everything else is stuck.
        let tell = tell(Arc::clone(&bench), overview, shutdown.looks());
        let told = serving.clone();
        let tell = async move { told.run_until_cancelled(tell).await.map(drop) };
        bench.tasks.spawn(tell.in_current_span());
        let (origin, stop) = (Origin::Client, serving.clone());
        let server = listener::serve(listener, origin, Arc::clone(&bench), passphrase, stop);
        let leases = Box::pin(actor.run(shutdown)).instrument(bench.span.clone());
        let link = link.instrument(bench.span.clone());
        tokio::pin!(server);
        let desk = async {
            match desk {
                Some((directory, desk)) => control::serve(&directory, desk)
                    .await
                    .with_context(|| format!("can't answer in {}", directory.display())),
                None => std::future::pending().await,
            }
        };
        let work = async {
            tokio::select! {
                code = leases => Ok(code),
                never = reloader.run(shutdown) => match never {},
                never = link => match never {},
                failed = desk => {
                    failed?;
                    anyhow::bail!("the control socket has closed");
                }
                failed = &mut server => {
                    failed?;
                    anyhow::bail!("the listener has closed");
                }
            }
        };
        let outcome = AssertUnwindSafe(Box::pin(work)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| Err(panicked(&*panic)));
        serving.cancel();
        match &outcome {
            Ok(_) => server.await?,
            Err(_) => drop(timeout(LAST_MOMENT, bench.tree().close()).await),
        }
        bench.tasks.close();
        timeout(LAST_MOMENT, bench.tasks.wait()).await.ok();
        outcome
    }
}
