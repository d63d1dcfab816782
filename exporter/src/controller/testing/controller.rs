//! The controller, as the real one was seen to behave.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use super::bytes::{Fault, Net};
use super::router::Crossing;
use crate::wire::controller_service_server::{ControllerService, ControllerServiceServer};
use crate::wire::router_service_server::RouterServiceServer;
use crate::wire::telemetry_service_server::{TelemetryService, TelemetryServiceServer};
use crate::wire::{
    DialRequest, DialResponse, ExporterStatus, GetServiceEndpointsRequest,
    GetServiceEndpointsResponse, ListenRequest, ListenResponse, LogEntry, PushLogsRequest,
    PushLogsResponse, RegisterRequest, RegisterResponse, ReleaseLeaseRequest, ReleaseLeaseResponse,
    ReportStatusRequest, ReportStatusResponse, StatusRequest, StatusResponse, TelemetryEndpoint,
    UnregisterRequest, UnregisterResponse,
};

/// How many dials wait for an exporter that listens.
const QUEUE: usize = 8;

/// The token that the exporter has to show.
const TOKEN: &str = "Bearer exporter-token";

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

    /// What every call goes through.
    fn admit<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<(), Status> {
        let metadata = request.metadata();
        if let Some(token) = &self.state().token
            && metadata.get("authorization").is_none_or(|given| given != token.as_str())
        {
            return Err(Status::unknown("failed to authenticate token"));
        }
        for (key, expected) in [
            ("authorization", self.state().token.as_deref().unwrap_or(TOKEN)),
            ("jumpstarter-kind", "Exporter"),
            ("jumpstarter-namespace", "lab"),
            ("jumpstarter-name", "bench"),
        ] {
            let given: Vec<_> = metadata.get_all(key).iter().collect();
            assert_eq!(given, [expected], "{key}");
        }
        let fault = self.change(|state| state.faults.get_mut(&rpc).and_then(VecDeque::pop_front));
        match fault {
            Some(code) => Err(Status::new(code, "so it was told")),
            None => Ok(()),
        }
    }

    /// What a Status stream says next, if it is anything new.
    fn lease_status(&self) -> StatusResponse {
        match &self.state().lease {
            None => StatusResponse::default(),
            Some((lease, client, context)) => StatusResponse {
                leased: true,
                lease_name: Some(lease.clone()),
                client_name: Some(client.clone()),
                context: context.clone().into_iter().collect(),
            },
        }
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ControllerService for Fake {
    async fn register(&self, request: Request<RegisterRequest>) -> Reply<RegisterResponse> {
        self.admit(Rpc::Register, &request)?;
        let reports = request.into_inner().reports.len();
        self.change(|state| {
            state.is_registered = reports > 0;
            state.told.push(Reported::Registered(reports));
        });
        Ok(Response::new(RegisterResponse { uuid: "exporter".into() }))
    }

    async fn unregister(&self, request: Request<UnregisterRequest>) -> Reply<UnregisterResponse> {
        self.admit(Rpc::Unregister, &request)?;
        self.change(|state| {
            state.is_registered = false;
            state.status = Some(ExporterStatus::Offline);
            state.told.push(Reported::Unregistered);
        });
        Ok(Response::new(UnregisterResponse {}))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Reply<ReportStatusResponse> {
        self.admit(Rpc::ReportStatus, &request)?;
        let request = request.into_inner();
        let status = request.status();
        assert!(request.message.is_some());
        self.change(|state| {
            state.status = Some(status);
            if request.release_lease() {
                state.lease = None;
                state.told.push(Reported::ReleasedByStatus(status));
            } else {
                state.told.push(Reported::Status(status));
            }
        });
        Ok(Response::new(ReportStatusResponse {}))
    }

    type StatusStream = BoxStream<'static, Result<StatusResponse, Status>>;

    async fn status(&self, request: Request<StatusRequest>) -> Reply<Self::StatusStream> {
        self.admit(Rpc::Status, &request)?;
        let (generation, cut_after) = self.change(|state| {
            // An exporter that was taken for dead is there again, in whatever state.
            if state.status == Some(ExporterStatus::Offline) {
                state.status = None;
            }
            (state.generation, state.cut_after)
        });
        let start = (self.clone(), self.changed.subscribe(), None, 0);
        let statuses = stream::unfold(start, move |(fake, mut changed, last, count)| async move {
            loop {
                if fake.state().generation != generation {
                    return Some((
                        Err(Status::unavailable("restart")),
                        (fake, changed, last, count),
                    ));
                }
                if cut_after.is_some_and(|after| count >= after) {
                    return Some((
                        Err(Status::unknown("watch channel closed")),
                        (fake, changed, last, 0),
                    ));
                }
                let status = fake.lease_status();
                if last.as_ref() != Some(&status) {
                    return Some((Ok(status.clone()), (fake, changed, Some(status), count + 1)));
                }
                changed.changed().await.ok()?;
            }
        });
        Ok(Response::new(until_error(statuses.boxed())))
    }

    type ListenStream = BoxStream<'static, Result<ListenResponse, Status>>;

    async fn listen(&self, request: Request<ListenRequest>) -> Reply<Self::ListenStream> {
        self.admit(Rpc::Listen, &request)?;
        let name = request.into_inner().lease_name;
        let (sender, mut dials) = mpsc::channel(QUEUE);
        let (generation, cut_after) = self.change(|state| {
            if state.lease.as_ref().map(|(lease, ..)| lease) != Some(&name) {
                return Err(Status::unknown("permission denied"));
            }
            // The newest wins; the older one delivers what it has, and ends.
            state.listeners.insert(name, sender);
            Ok((state.generation, state.cut_after))
        })?;
        let (fake, mut changed) = (self.clone(), self.changed.subscribe());
        let restarted = async move {
            while fake.state().generation == generation {
                changed.changed().await.unwrap();
            }
            Status::unavailable("restart")
        };
        // No headers before the first dial.
        let mut restarted = Box::pin(restarted);
        let first = tokio::select! {
            first = dials.recv() => first,
            error = &mut restarted => return Err(error),
        };
        let dials = stream::iter(first).chain(ReceiverStream::new(dials)).map(Ok);
        let dials = stream::select(dials, stream::once(restarted).map(Err));
        let dials: BoxStream<'static, _> = match cut_after {
            Some(after) => {
                let end = stream::once(async { Err(Status::unknown("watch channel closed")) });
                dials.take(after).chain(end).boxed()
            }
            None => dials.boxed(),
        };
        Ok(Response::new(until_error(dials)))
    }

    async fn dial(&self, request: Request<DialRequest>) -> Reply<DialResponse> {
        self.dial(&request.into_inner().lease_name).await.map(Response::new)
    }

    async fn release_lease(
        &self,
        request: Request<ReleaseLeaseRequest>,
    ) -> Reply<ReleaseLeaseResponse> {
        self.admit(Rpc::ReleaseLease, &request)?;
        if self.state().is_old {
            return Err(Status::invalid_argument("object kind mismatch"));
        }
        let name = request.into_inner().name;
        self.change(|state| match &state.lease {
            Some((held, ..)) if *held == name => {
                state.lease = None;
                state.told.push(Reported::Released(name));
                Ok(Response::new(ReleaseLeaseResponse {}))
            }
            Some(_) => Err(Status::failed_precondition("lease is not held by exporter")),
            None => Err(Status::not_found("lease not found")),
        })
    }

    async fn get_service_endpoints(
        &self,
        request: Request<GetServiceEndpointsRequest>,
    ) -> Reply<GetServiceEndpointsResponse> {
        self.admit(Rpc::GetServiceEndpoints, &request)?;
        let telemetry_endpoints = self.state().telemetry.clone();
        let unknown = || Status::unimplemented("unknown method GetServiceEndpoints");
        let telemetry_endpoints = telemetry_endpoints.ok_or_else(unknown)?;
        Ok(Response::new(GetServiceEndpointsResponse { telemetry_endpoints }))
    }
}

#[tonic::async_trait]
impl TelemetryService for Fake {
    async fn push_logs(&self, request: Request<PushLogsRequest>) -> Reply<PushLogsResponse> {
        let given: Vec<_> = request.metadata().get_all("authorization").iter().collect();
        assert_eq!(given, [TOKEN]);
        let entries = request.into_inner().entries;
        let accepted = u32::try_from(entries.len()).unwrap();
        self.change(|state| state.pushed.push(entries));
        Ok(Response::new(PushLogsResponse { accepted, dropped: 0 }))
    }
}

/// The stream, which ends after its first error.
fn until_error<T: Send + 'static>(
    stream: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    stream
        .scan(false, |is_over, item| {
            let was_over = std::mem::replace(is_over, item.is_err());
            std::future::ready((!was_over).then_some(item))
        })
        .boxed()
}

impl Fake {
    /// How many router streams wait for their peer.
    pub(in super::super) fn lone_streams(&self) -> usize {
        self.crossing.waiting()
    }
}
