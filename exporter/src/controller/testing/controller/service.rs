//! What the controller answers.

use std::collections::VecDeque;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Fake, Reported, Rpc};
use crate::wire::controller_service_server::ControllerService;
use crate::wire::telemetry_service_server::TelemetryService;
use crate::wire::{
    DialRequest, DialResponse, ExporterStatus, GetServiceEndpointsRequest,
    GetServiceEndpointsResponse, ListenRequest, ListenResponse, PushLogsRequest, PushLogsResponse,
    RegisterRequest, RegisterResponse, ReleaseLeaseRequest, ReleaseLeaseResponse,
    ReportStatusRequest, ReportStatusResponse, StatusRequest, StatusResponse, UnregisterRequest,
    UnregisterResponse,
};

/// How many dials wait for an exporter that listens.
const QUEUE: usize = 8;

/// The token that the exporter has to show.
const TOKEN: &str = "Bearer exporter-token";

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
