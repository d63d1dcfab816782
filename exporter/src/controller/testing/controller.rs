//! The controller, as the real one was seen to behave: what it knows, and what a test has it do.

mod service;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;
use tonic::{Code, Status};

use super::bytes::{Fault, Net};
use super::router::Crossing;
use crate::wire::controller_service_server::ControllerServiceServer;
use crate::wire::router_service_server::RouterServiceServer;
use crate::wire::telemetry_service_server::TelemetryServiceServer;
use crate::wire::{DialResponse, ExporterStatus, ListenResponse, LogEntry, TelemetryEndpoint};

/// The calls of an exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Rpc {
    Register,
    Status,
    Listen,
    ReportStatus,
    ReleaseLease,
    Unregister,
    GetServiceEndpoints,
}

impl Rpc {
    pub(in super::super) const ALL: [Self; 7] = [
        Self::Register,
        Self::Status,
        Self::Listen,
        Self::ReportStatus,
        Self::ReleaseLease,
        Self::Unregister,
        Self::GetServiceEndpoints,
    ];
}

/// What the controller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Reported {
    Registered(usize),
    Status(ExporterStatus),
    Released(String),
    ReleasedByStatus(ExporterStatus),
    Unregistered,
}

/// The controller and its router. Clones are the same.
#[derive(Clone)]
pub(in super::super) struct Fake {
    pub(in super::super) net: Net,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    crossing: Crossing,
}

#[derive(Default)]
struct State {
    is_registered: bool,
    /// What was reported; none where it was never, or has been forgotten.
    status: Option<ExporterStatus>,
    lease: Option<(String, String, BTreeMap<String, String>)>,
    /// A lease that waits, and whose it is.
    waiting: Option<(String, String)>,
    listeners: BTreeMap<String, mpsc::Sender<ListenResponse>>,
    told: Vec<Reported>,
    /// The next calls that fail, and how.
    faults: BTreeMap<Rpc, VecDeque<Code>>,
    /// Status streams are cut after so many messages.
    cut_after: Option<usize>,
    is_old: bool,
    /// Another token than at first is asked for.
    token: Option<String>,
    /// The telemetry services that it names; none: it has never heard of any.
    telemetry: Option<Vec<TelemetryEndpoint>>,
    /// What was pushed to a telemetry service, in batches.
    pushed: Vec<Vec<LogEntry>>,
    dials: u64,
    /// Ends every stream that is open.
    generation: u64,
}

impl State {
    /// Whether the exporter can have a lease. One whose status is not known is taken for ready.
    fn is_free(&self) -> bool {
        let is_ready = matches!(self.status, None | Some(ExporterStatus::Available));
        self.is_registered && self.lease.is_none() && is_ready
    }

    /// Gives the lease that waits to the exporter, if that is free.
    fn assign(&mut self) {
        if self.is_free()
            && let Some((name, client)) = self.waiting.take()
        {
            self.lease = Some((name, client, [].into()));
        }
    }
}

impl Fake {
    /// Serves on its own network.
    pub(in super::super) fn start() -> Self {
        let fake = Self {
            net: Net::default(),
            state: Arc::default(),
            changed: watch::Sender::default(),
            tasks: Arc::default(),
            crossing: Crossing::default(),
        };
        fake.serve_at("controller");
        let connections = UnboundedReceiverStream::new(fake.net.host("router"));
        let service = RouterServiceServer::new(fake.crossing.clone());
        let router = Server::builder().add_service(service).serve_with_incoming(connections);
        let connections = UnboundedReceiverStream::new(fake.net.host("telemetry"));
        let service = TelemetryServiceServer::new(fake.clone());
        let telemetry = Server::builder().add_service(service).serve_with_incoming(connections);
        let mut tasks = fake.tasks.lock().unwrap();
        tasks.spawn(async move { telemetry.await.unwrap() });
        tasks.spawn(async move { router.await.unwrap() });
        drop(tasks);
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = {
            let mut state = self.state();
            let result = change(&mut state);
            state.assign();
            result
        };
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// Gives the exporter a lease, ready or not.
    pub(in super::super) fn lease(&self, name: &str, client: &str) {
        self.change(|state| state.lease = Some((name.into(), client.into(), [].into())));
    }

    /// The same, as the scheduler does: only to one that is free. Returns whether it was.
    pub(in super::super) fn schedule(&self, name: &str, client: &str) -> bool {
        self.change(|state| {
            let is_free = state.is_free();
            if is_free {
                state.lease = Some((name.into(), client.into(), [].into()));
            }
            is_free
        })
    }

    /// A lease that the exporter gets as soon as it is free.
    pub(in super::super) fn waits(&self, name: &str, client: &str) {
        self.change(|state| state.waiting = Some((name.into(), client.into())));
    }

    /// It has not heard of the exporter for so long that it takes it for dead.
    pub(in super::super) fn gives_it_up(&self) {
        self.change(|state| state.status = Some(ExporterStatus::Offline));
    }

    /// Ends the lease.
    pub(in super::super) fn end_lease(&self) {
        self.change(|state| state.lease = None);
    }

    /// The lease that it holds for the exporter's.
    pub(in super::super) fn held(&self) -> Option<String> {
        self.state().lease.as_ref().map(|(name, ..)| name.clone())
    }

    /// The process ends and comes back: streams break, queues are gone, and nobody remembers what
    /// was reported.
    pub(in super::super) fn restart(&self) {
        self.change(|state| {
            state.generation += 1;
            state.listeners.clear();
            state.status = None;
        });
    }

    /// The next calls of this kind fail like this.
    pub(in super::super) fn fail(&self, rpc: Rpc, codes: impl IntoIterator<Item = Code>) {
        self.change(|state| state.faults.entry(rpc).or_default().extend(codes));
    }

    /// Streams end in the middle after so many messages.
    pub(in super::super) fn cut_streams_after(&self, messages: Option<usize>) {
        self.change(|state| state.cut_after = messages);
    }

    /// It knows of nothing that came after release 0.7.
    pub(in super::super) fn is_old(&self) {
        self.change(|state| state.is_old = true);
    }

    /// It names a telemetry service, which wants lines of this severity.
    pub(in super::super) fn has_telemetry(&self, severity: &str) {
        let endpoint = TelemetryEndpoint {
            endpoint: "telemetry:8087".into(),
            certificate: String::new(),
            min_severity: severity.into(),
        };
        self.change(|state| state.telemetry = Some(vec![endpoint]));
    }

    /// What was pushed to its telemetry service, in batches.
    pub(in super::super) fn pushed(&self) -> Vec<Vec<LogEntry>> {
        self.state().pushed.clone()
    }

    /// From now on, only this token is any good.
    pub(in super::super) fn asks_for(&self, token: &str) {
        self.change(|state| state.token = Some(format!("Bearer {token}")));
        self.restart();
    }

    /// It is somewhere else under the same name. Where it was, nobody answers any more.
    pub(in super::super) fn moves(&self) {
        self.net.has("controller", Fault::Refused);
        self.change(|state| state.status = None);
        self.serve_at("controller");
    }

    fn serve_at(&self, host: &str) {
        let connections = UnboundedReceiverStream::new(self.net.host(host));
        let service = ControllerServiceServer::new(self.clone());
        let controller = Server::builder().add_service(service).serve_with_incoming(connections);
        self.tasks.lock().unwrap().spawn(async move { controller.await.unwrap() });
    }

    /// Forgets what goes wrong.
    pub(in super::super) fn heal(&self) {
        self.change(|state| {
            state.faults.clear();
            state.cut_after = None;
        });
    }

    /// Everything that it was told.
    pub(in super::super) fn told(&self) -> Vec<Reported> {
        self.state().told.clone()
    }

    /// The status that it has noted.
    pub(in super::super) fn status(&self) -> Option<ExporterStatus> {
        self.state().status
    }

    /// Waits until what it knows is what is wanted.
    pub(in super::super) async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let reached = async {
            while !wanted(self) {
                changed.changed().await.unwrap();
            }
        };
        let limit = Duration::from_secs(4 * 3600);
        timeout(limit, reached).await.unwrap_or_else(|_| {
            panic!("it never came; told: {:?}, held: {:?}", self.told(), self.held())
        });
    }

    /// Waits for a status.
    pub(in super::super) async fn shows(&self, status: ExporterStatus) {
        self.until(|fake| fake.status() == Some(status)).await;
    }

    /// A client dials.
    pub(in super::super) async fn dial(&self, lease: &str) -> Result<DialResponse, Status> {
        let start = Instant::now();
        loop {
            let status = self.state().status;
            match status {
                Some(ExporterStatus::Available) if start.elapsed() < Duration::from_secs(27) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Some(ExporterStatus::Available) => {
                    return Err(Status::failed_precondition("exporter is not ready"));
                }
                Some(ExporterStatus::Offline) => {
                    return Err(Status::failed_precondition("exporter is offline"));
                }
                Some(
                    ExporterStatus::BeforeLeaseHookFailed | ExporterStatus::AfterLeaseHookFailed,
                ) => return Err(Status::failed_precondition("hook failed")),
                Some(
                    ExporterStatus::LeaseReady
                    | ExporterStatus::BeforeLeaseHook
                    | ExporterStatus::AfterLeaseHook
                    | ExporterStatus::Unspecified,
                )
                | None => break,
            }
        }
        self.change(|state| {
            state.dials += 1;
            let endpoint = "router:8083".to_owned();
            let token = format!("stream-{}", state.dials);
            let dial =
                ListenResponse { router_endpoint: endpoint.clone(), router_token: token.clone() };
            let listener = state.listeners.get(lease);
            match listener.map(|listener| listener.try_send(dial)) {
                Some(Ok(())) => Ok(DialResponse { router_endpoint: endpoint, router_token: token }),
                Some(Err(mpsc::error::TrySendError::Full(_))) => {
                    Err(Status::resource_exhausted("listen queue is full"))
                }
                Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                    Err(Status::unavailable("exporter is not listening on the lease"))
                }
            }
        })
    }

    /// How many router streams wait for their peer.
    pub(in super::super) fn lone_streams(&self) -> usize {
        self.crossing.waiting()
    }
}
