//! An exporter and its controller, in one process whose time passes by itself.
//!
//! The clock is paused, so that hours of outage take no time. Hooks are real processes, which take
//! real time: it stands still while they run.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::testing::{Client, Fake};
use crate::app::{Controlled, Setup, State};
use crate::config::{Environment, parse};
use crate::lease::status::{Reader, Status};
use crate::session::bench::Bench;
use crate::shutdown::Shutdown;
use crate::wire::ExporterStatus;

pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) shutdown: Shutdown,
    pub(super) bench: Arc<Bench>,
    exporter: JoinSet<u8>,
    directory: Arc<TempDir>,
    hooks: String,
}

/// Hooks that write down that they have run, and for whom.
pub(super) const HOOKS: &str = "
  beforeLease: {script: 'echo before $LEASE_NAME $CLIENT_NAME >> DIR/done', timeout: 3600}
  afterLease: {script: 'echo after $LEASE_NAME $CLIENT_NAME >> DIR/done', timeout: 3600}
";

impl World {
    /// An exporter with these hooks that is registered and available.
    pub(super) async fn with(hooks: &str) -> Self {
        Self::start(hooks, false).await
    }

    /// The same, with what it has to know after a crash. Time passes while that is written down.
    pub(super) async fn that_remembers(hooks: &str) -> Self {
        Self::start(hooks, true).await
    }

    async fn start(hooks: &str, remembers: bool) -> Self {
        let directory = Arc::new(TempDir::new().unwrap());
        let world = Self::begin(Fake::start(), hooks, directory, remembers);
        world.fake.shows(ExporterStatus::Available).await;
        world
    }

    fn begin(fake: Fake, hooks: &str, directory: Arc<TempDir>, remembers: bool) -> Self {
        let file = directory.path().join("bench.yaml");
        let yaml = "metadata: {namespace: lab, name: bench}\nendpoint: controller:8082\n\
             token: exporter-token\n\
             export: {power: {type: jumpstarter_driver_power.driver.MockPower}}\n\
             hooks: {}\n"
            .to_owned();
        let hooks = hooks.replace("DIR", &directory.path().display().to_string());
        let yaml = match hooks.trim().is_empty() {
            true => yaml,
            false => yaml.replace("hooks: {}\n", &format!("hooks:\n{hooks}\n")),
        };
        std::fs::write(&file, &yaml).unwrap();
        let loaded = parse(&file, yaml.as_bytes(), &Environment::default()).unwrap();
        let state = remembers.then(|| State::open(directory.path().join("state")).unwrap());
        let setup = Setup { config: loaded.config, file, exit_on_lease_end: false, state };
        let (shutdown, net) = (Shutdown::default(), fake.net.clone());
        let ways = Arc::new(move |_: &_| Ok(Arc::new(net.clone()) as _));
        let controlled = Controlled::by(ways, setup, &shutdown).unwrap();
        let bench = Arc::clone(controlled.bench());
        let mut exporter = JoinSet::new();
        exporter.spawn(stop_time(bench.status.clone()));
        let told = shutdown.clone();
        exporter.spawn(async move { Box::pin(controlled.run(&told)).await.unwrap() });
        Self { fake, shutdown, bench, exporter, directory, hooks }
    }

    /// Kills the exporter, and starts another in its place.
    pub(super) async fn crash(mut self) -> Self {
        self.exporter.shutdown().await;
        let Self { fake, directory, hooks, .. } = self;
        drop(self.bench);
        Self::begin(fake, &hooks, directory, true)
    }

    /// Has a lease given, and waits until its client may use the bench.
    pub(super) async fn leased(&self, lease: &str, client: &str) -> Client {
        self.fake.lease(lease, client);
        self.fake.shows(ExporterStatus::LeaseReady).await;
        let client = Client::connect(&self.fake, lease).await.unwrap();
        // It is really there, and follows.
        assert_eq!(client.status().await.unwrap(), ExporterStatus::LeaseReady);
        client
    }

    /// Waits for a status of the bench itself.
    pub(super) async fn bench_is(&self, wanted: Status) {
        let mut status = self.bench.status.clone();
        status.wait_for(|snapshot| snapshot.status == wanted).await.unwrap();
    }

    /// Waits until a beforeLease hook has written this down, and the lease is ready.
    pub(super) async fn is_prepared(&self, line: &str) {
        let is_begun = || self.done().iter().any(|done| done == line);
        let ready = Some(ExporterStatus::LeaseReady);
        self.fake.until(|fake| is_begun() && fake.status() == ready).await;
    }

    /// What hooks have written down.
    pub(super) fn done(&self) -> Vec<String> {
        let done = std::fs::read_to_string(self.path("done")).unwrap_or_default();
        done.lines().map(str::to_owned).collect()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until the exporter has stopped; its exit code.
    pub(super) async fn stopped(&mut self) -> u8 {
        self.exporter.join_next().await.unwrap().unwrap()
    }
}

/// Keeps the time from passing while a hook runs: the clock doesn't go on by itself while a thread
/// is at work.
async fn stop_time(mut status: Reader) -> u8 {
    loop {
        let of_hook = |status| matches!(status, Status::BeforeLeaseHook | Status::AfterLeaseHook);
        if status.wait_for(|snapshot| of_hook(snapshot.status)).await.is_none() {
            std::future::pending::<()>().await;
        }
        let version = status.current().version;
        let (release, held) = mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || hold(&held));
        // What comes after the hook, with the same status, takes time like everything else.
        tokio::select! {
            _ = status.wait_for(|snapshot| snapshot.version != version) => {}
            _ = holding => {}
        }
        drop(release);
        status.wait_for(|snapshot| snapshot.version != version).await;
    }
}

/// Returns when it is told to, or when no hook runs any more.
fn hold(held: &mpsc::Receiver<()>) {
    let is_running = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let children = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        children.into_iter().any(|children| !children.trim().is_empty())
    };
    // It takes a moment to begin.
    let mut patience = Duration::from_millis(100);
    while held.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) && is_running() {
        patience = Duration::from_millis(5);
    }
}
