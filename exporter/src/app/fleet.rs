//! The exporters of one process: each is started again when it has failed, and none is touched by what
//! happens to another.
//!
//! ```text
//! read, built, run ──► done, or told to go ──► its exit code
//!   ▲     │ fails
//!   │     ▼
//!   └── idle: waits, and answers `hilt status` ── too many rapid failures ──► given up
//! ```
//!
//! One that was given up is started again when somebody asks for it, by `hilt reload` or SIGHUP, for as
//! long as there are others in the process. The process ends when no exporter is left that runs or is
//! going to.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::exporter::{Setup, State};
use super::idle::Idle;
use super::panicked;
use super::tries::{Tries, Verdict};
use crate::activity;
use crate::backoff::{Backoff, Pace};
use crate::config::{Config, Environment, FailureDetection, load_to_run};
use crate::shutdown::Shutdown;
use crate::state::{ExporterDir, StateDir};

/// How long an exporter that has failed waits before it is started again.
const PACE: Pace = Pace { first: Duration::from_millis(200), longest: Duration::from_secs(30) };

/// Makes an exporter and runs it until it is told to go; its exit code.
pub type Start = dyn Fn(Setup, Shutdown) -> BoxFuture<'static, anyhow::Result<u8>> + Send + Sync;

/// One exporter of a fleet, before it is started for the first time.
#[derive(Debug)]
pub struct Member {
    /// Where its configuration is.
    pub file: PathBuf,
    /// What was read there, or why it can't be used.
    pub config: anyhow::Result<Config>,
}

impl Member {
    /// What the configuration has to be besides.
    pub fn require(&mut self, check: impl FnOnce(&Config) -> anyhow::Result<()>) {
        if let Ok(config) = &self.config
            && let Err(error) = check(config)
        {
            self.config = Err(error);
        }
    }
}

/// The exporters of one process.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
    state_dir: StateDir,
    exit_on_lease_end: bool,
}

impl Fleet {
    /// A fleet that keeps what it has to know there. `exit_on_lease_end`: whatever configurations say,
    /// each exporter stops after its first lease.
    ///
    /// # Errors
    ///
    /// Not one of the configurations can be used, or two are for the same exporter.
    pub fn new(
        mut members: Vec<Member>,
        state_dir: StateDir,
        exit_on_lease_end: bool,
    ) -> anyhow::Result<Self> {
        if members.iter().all(|member| member.config.is_err())
            && let Some(first) = members.pop()
        {
            let others = members.into_iter().filter_map(|member| member.config.err());
            let others: Vec<_> = others.map(|error| format!("{error:#}\n")).collect();
            first.config.map_err(|error| match others.is_empty() {
                true => error,
                false => anyhow!("{}{error:#}", others.concat()),
            })?;
            members = Vec::new();
        }
        let mut names = BTreeSet::new();
        for Member { file, config } in &members {
            let Ok(config) = config else { continue };
            let name = &config.metadata.name;
            let file = file.display();
            ensure!(
                names.insert(name),
                "{file}: metadata.name: another configuration is for the exporter '{name}', too; \
                 give each a name of its own"
            );
        }
        Ok(Self { members, state_dir, exit_on_lease_end })
    }

    /// The configurations that can be used.
    pub fn configs(&self) -> impl Iterator<Item = &Config> {
        self.members.iter().filter_map(|member| member.config.as_ref().ok())
    }

    /// Where the state of their exporters is.
    pub fn directories(&self) -> Vec<ExporterDir> {
        self.configs().map(|config| self.state_dir.exporter(&config.metadata.name)).collect()
    }

    /// Where all state is.
    pub fn state_dir(&self) -> &StateDir {
        &self.state_dir
    }

    /// Runs the exporters until they are done or told to go. Returns the exit code of the process:
    /// the highest of theirs, where one that was given up counts as a failure.
    pub async fn run(self, start: Arc<Start>, shutdown: &Shutdown) -> u8 {
        let Self { members, state_dir, exit_on_lease_end } = self;
        let count = members.len();
        let standing = watch::Sender::new(count);
        let mut exporters = JoinSet::new();
        for Member { file, config } in members {
            let name = config.as_ref().ok().map(|config| config.metadata.name.clone());
            let shown = name.clone().unwrap_or_else(|| file.display().to_string());
            let keeper = Keeper {
                file,
                name,
                detection: FailureDetection::default(),
                read: Some(config),
                state_dir: state_dir.clone(),
                exit_on_lease_end,
                start: Arc::clone(&start),
                shutdown: if count == 1 { shutdown.clone() } else { shutdown.of_one() },
                standing: standing.clone(),
            };
            let span = tracing::error_span!("exporter", name = shown);
            exporters.spawn(keeper.keep().instrument(span));
        }
        let codes = exporters.join_all().await;
        codes.into_iter().max().unwrap_or_default()
    }
}

/// Keeps one exporter running.
struct Keeper {
    file: PathBuf,
    /// Its name, as soon as it is known.
    name: Option<String>,
    detection: FailureDetection,
    /// What was already read for the next try.
    read: Option<anyhow::Result<Config>>,
    state_dir: StateDir,
    exit_on_lease_end: bool,
    start: Arc<Start>,
    shutdown: Shutdown,
    /// How many exporters of the process run, or are going to.
    standing: watch::Sender<usize>,
}

/// What comes after a wait.
enum Next {
    /// The wait is over.
    Again,
    /// Somebody has asked for another try.
    Asked,
    /// There is nothing more to wait for.
    Over,
}

impl Keeper {
    async fn keep(mut self) -> u8 {
        let (mut tries, mut backoff) = (Tries::default(), Backoff::new(PACE));
        let code = loop {
            let begun = Instant::now();
            let attempt = AssertUnwindSafe(self.attempt()).catch_unwind().await;
            let failure = match attempt.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(code) => break code,
                Err(failure) => format!("{failure:#}"),
            };
            if self.shutdown.is_told() {
                tracing::error!("{failure}");
                break 1;
            }
            let next = match tries.failed(begun.elapsed(), self.detection) {
                Verdict::Again { rapid } => {
                    if rapid == 0 {
                        backoff.reset();
                    }
                    let wait = backoff.next();
                    let seconds = wait.as_secs_f64();
                    tracing::error!(
                        rapid_failures = rapid,
                        "failed, to be started again in {seconds:.1} s: {failure}"
                    );
                    let shown = format!("failed, to be started again: {failure}");
                    self.idle(shown, sleep(wait)).await
                }
                Verdict::Enough { rapid } => self.give_up(rapid, &failure).await,
            };
            match next {
                Next::Again => {}
                Next::Asked => {
                    tries = Tries::default();
                    backoff.reset();
                }
                Next::Over => return 1,
            }
        };
        self.standing.send_modify(|standing| *standing -= 1);
        code
    }

    /// Reads the configuration, builds the exporter and runs it.
    async fn attempt(&mut self) -> anyhow::Result<u8> {
        let config = match self.read.take() {
            Some(read) => read?,
            None => self.read().await?,
        };
        self.detection = config.failure_detection;
        let directory = self.state_dir.of_exporter(&config.metadata.name);
        self.name = Some(config.metadata.name.clone());
        let span = tracing::Span::current();
        let open = spawn_blocking(move || span.in_scope(|| State::open(directory)));
        let (file, exit_on_lease_end) = (self.file.clone(), self.exit_on_lease_end);
        let setup = Setup { config, file, exit_on_lease_end, state: Some(open.await??) };
        (self.start)(setup, self.shutdown.clone()).await
    }

    async fn read(&self) -> anyhow::Result<Config> {
        let file = self.file.clone();
        // Drivers are tried, and files read.
        let load = spawn_blocking(move || load_to_run(&file, &Environment::of_process()));
        let loaded = load.await??;
        for warning in loaded.warnings.to_string().lines() {
            tracing::warn!("{warning}");
        }
        Ok(loaded.config)
    }

    /// Waits for somebody to ask for another try, or until no other exporter is left.
    async fn give_up(&mut self, rapid: u32, failure: &str) -> Next {
        let window = self.detection.rapid_failure_window.as_secs();
        tracing::error!(
            "failed {rapid} times in a row within {window} s of its start, and is given up: {failure}"
        );
        self.standing.send_modify(|standing| *standing -= 1);
        let mut standing = self.standing.subscribe();
        let alone = async { standing.wait_for(|standing| *standing == 0).await.map(drop).ok() };
        let shown =
            format!("given up after {rapid} failures; `hilt reload` tries again: {failure}");
        match self.idle(shown, alone).await {
            Next::Asked => {
                self.standing.send_modify(|standing| *standing += 1);
                Next::Asked
            }
            Next::Again | Next::Over => Next::Over,
        }
    }

    /// Waits; meanwhile, people are told why.
    async fn idle<T>(&mut self, message: String, until: impl Future<Output = T>) -> Next {
        let directory = self.name.as_ref().map(|name| self.state_dir.exporter(name));
        let mut idle = Idle::new(directory, message.clone(), &self.shutdown);
        let (mut hangups, mut looks) = (self.shutdown.hangups(), self.shutdown.looks());
        tokio::pin!(until);
        loop {
            let request = tokio::select! {
                _ = &mut until => return Next::Again,
                () = self.shutdown.told() => return Next::Over,
                Ok(()) = hangups.changed() => return Next::Asked,
                Ok(()) = looks.changed() => {
                    activity::say(&message);
                    continue;
                }
                request = idle.asked() => request,
            };
            let read = self.read().await;
            let refused = read.as_ref().err().map(|error| format!("{error:#}"));
            // Whoever no longer waits doesn't need to know.
            request.send(refused.map_or(Ok(()), Err)).ok();
            if read.is_ok() {
                self.read = Some(read);
                return Next::Asked;
            }
        }
    }
}
