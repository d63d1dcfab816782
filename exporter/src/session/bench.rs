//! Everything that clients and hooks of one exporter can reach.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use drivers::Tree;
use drivers::recording::Mark;
use drivers::tree::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status as RpcStatus;
use tracing::Span;
use uuid::Uuid;

use super::admission::{self, Origin, Permit};
use super::log::Log;
use super::report::{self, NAME_LABEL};
use super::resource::Resources;
use crate::activity::Activity;
use crate::lease::actor::LeaseHandle;
use crate::lease::status;
use crate::logging;
use crate::state;
use crate::wire::GetReportResponse;

/// One exporter's devices, with what is needed to use them and to follow what happens to them.
#[derive(Debug)]
pub struct Bench {
    /// What the exporter is doing.
    pub status: status::Reader,
    /// What it says.
    pub log: Log,
    /// What goes on.
    pub activity: Activity,
    /// What clients lend to drivers.
    pub resources: Resources,
    /// The lease, unless the bench is used locally without one.
    pub lease: Option<LeaseHandle>,
    /// Cancelled when the exporter stops serving: ends every stream.
    pub serving: CancellationToken,
    /// Owns the tasks that move bytes for clients.
    pub tasks: TaskTracker,
    /// Everything that happens here happens in it.
    pub span: Span,
    /// The devices. Replaced between leases, when the configuration has changed.
    tree: watch::Sender<Arc<Tree>>,
    /// Those of them that are shown to clients but are no one's to use yet.
    withheld: Mutex<HashSet<Uuid>>,
    /// Where drivers keep what their devices say; none if nothing is kept.
    recordings: OnceLock<PathBuf>,
    /// Without the devices and the message of the day.
    report: GetReportResponse,
    motd: Mutex<Motd>,
}

/// The message of the day.
#[derive(Debug)]
struct Motd {
    /// The configuration's.
    greeting: String,
    /// What a beforeLease hook has added.
    addition: Option<String>,
}

/// What a bench is made of.
#[derive(Debug)]
pub struct Parts {
    /// The exporter's name; none for local use.
    pub name: Option<String>,
    /// The message of the day.
    pub motd: String,
    /// The devices.
    pub tree: Tree,
    /// What the exporter is doing.
    pub status: status::Reader,
    /// What it says.
    pub log: Log,
    /// The lease, if there is one.
    pub lease: Option<LeaseHandle>,
}

impl Bench {
    /// A bench that serves until `serving` is cancelled.
    pub fn new(parts: Parts, serving: CancellationToken) -> Arc<Self> {
        let name = parts.name.clone();
        let labels = name.map(|name| (NAME_LABEL.to_owned(), name)).into_iter().collect();
        let report = GetReportResponse {
            uuid: Uuid::new_v4().to_string(),
            labels,
            ..GetReportResponse::default()
        };
        let tasks = TaskTracker::new();
        let span = logging::exporter_span(parts.name.as_deref().unwrap_or("local"), &parts.log);
        Arc::new(Self {
            resources: Resources::new(tasks.clone()),
            tree: watch::Sender::new(Arc::new(parts.tree)),
            withheld: Mutex::default(),
            recordings: OnceLock::new(),
            status: parts.status,
            log: parts.log,
            activity: Activity::default(),
            lease: parts.lease,
            serving,
            tasks,
            span,
            report,
            motd: Mutex::new(Motd { greeting: parts.motd, addition: None }),
        })
    }

    /// The devices as they are now.
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree.borrow())
    }

    /// The devices, as others take their place.
    pub fn trees(&self) -> watch::Receiver<Arc<Tree>> {
        self.tree.subscribe()
    }

    /// Puts other devices in the place of these. Whoever does so sees to it that nobody has the
    /// bench meanwhile.
    pub fn replace_tree(&self, tree: Tree) {
        self.tree.send_replace(Arc::new(tree));
        self.start_recorders();
    }

    /// From now on, drivers that are to record do so, below the exporter's part of the state
    /// directory.
    pub fn record_in(&self, directory: PathBuf) {
        self.recordings.get_or_init(|| directory);
        self.start_recorders();
    }

    fn start_recorders(&self) {
        let Some(directory) = self.recordings.get() else { return };
        for place in self.tree().walk() {
            if let Some(recorder) = place.node.driver.recorder() {
                recorder.start(state::recording(directory, &place.node.path));
            }
        }
    }

    /// Tells every recording what happens.
    pub fn mark(&self, mark: &Mark) {
        // A node that is in the tree more than once is told once.
        let mut told = HashSet::new();
        for place in self.tree().walk() {
            if let Some(recorder) = place.node.driver.recorder()
                && told.insert(place.node.id)
            {
                recorder.mark(mark.clone());
            }
        }
    }

    /// From now on, nobody can use the devices at other paths than `which` says.
    pub fn offer(&self, which: impl Fn(&str) -> bool) {
        let tree = self.tree();
        let nodes = tree.walk().into_iter().map(|place| place.node);
        let withheld = nodes.filter(|node| !which(&node.path)).map(|node| node.id).collect();
        *self.withheld.lock().unwrap_or_else(PoisonError::into_inner) = withheld;
    }

    /// The report, with the devices and the message of the day as they are now.
    pub fn report(&self) -> GetReportResponse {
        let motd = self.motd().text();
        let reports = report::reports(&self.tree());
        GetReportResponse { motd, reports, ..self.report.clone() }
    }

    /// Replaces what the configuration has for the message of the day.
    pub fn greet_with(&self, greeting: String) {
        self.motd().greeting = greeting;
    }

    /// Replaces what a hook has added to the message of the day.
    pub fn set_motd(&self, addition: Option<String>) {
        self.motd().addition = addition;
    }

    fn motd(&self) -> MutexGuard<'_, Motd> {
        self.motd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a call, or says why not.
    pub fn admit(&self, origin: Origin) -> Result<Permit, RpcStatus> {
        admission::admit(&self.status.current(), origin)
    }

    /// The driver that a client or a hook addresses.
    pub fn node(&self, id: &str) -> Result<Arc<Node>, RpcStatus> {
        let uuid = Uuid::parse_str(id).map_err(|_| {
            RpcStatus::invalid_argument(format!("driver uuid '{}' is not a UUID", shown(id)))
        })?;
        let node = self.tree().find(uuid).map(Arc::clone).ok_or_else(|| {
            RpcStatus::invalid_argument(format!(
                "no driver has the uuid {uuid}; ask for the report again"
            ))
        })?;
        if self.withheld.lock().unwrap_or_else(PoisonError::into_inner).contains(&uuid) {
            let message = format!("driver {} is not installed yet", node.path);
            return Err(RpcStatus::failed_precondition(message));
        }
        Ok(node)
    }
}

impl Motd {
    fn text(&self) -> String {
        match &self.addition {
            Some(addition) => format!("{}\n{addition}", self.greeting),
            None => self.greeting.clone(),
        }
    }
}

/// What a client has sent, short enough to be repeated in an error message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
