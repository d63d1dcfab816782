//! A controller with one exporter, which it gives one lease after the other.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use exporter::wire::controller_service_server::{ControllerService, ControllerServiceServer};
use exporter::wire::{
    DialRequest, DialResponse, ExporterStatus, GetServiceEndpointsRequest,
    GetServiceEndpointsResponse, ListenRequest, ListenResponse, RegisterRequest, RegisterResponse,
    ReleaseLeaseRequest, ReleaseLeaseResponse, ReportStatusRequest, ReportStatusResponse,
    StatusRequest, StatusResponse, UnregisterRequest, UnregisterResponse,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::process::patiently;
use crate::subject::free_port;

/// A running controller. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Controller {
    address: SocketAddr,
    lease: watch::Sender<Option<String>>,
    status: watch::Receiver<ExporterStatus>,
    _server: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Controller {
    /// Serves with a certificate of its own.
    pub(super) fn start() -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let own = rcgen::generate_simple_self_signed([address.ip().to_string()])?;
        let identity = Identity::from_pem(own.cert.pem(), own.signing_key.serialize_pem());
        let (lease, leases) = watch::channel(None);
        let (reports, status) = watch::channel(ExporterStatus::Offline);
        let service = ControllerServiceServer::new(Service { leases, reports });
        let mut server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?;
        let mut running = JoinSet::new();
        running.spawn(server.add_service(service).serve(address));
        Ok(Self { address, lease, status, _server: running })
    }

    /// Where it is.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the exporter a lease, or none.
    pub(super) fn lease(&self, name: Option<String>) {
        self.lease.send_replace(name);
    }

    /// Waits until the exporter reports a status.
    pub(super) async fn hears(&mut self, wanted: ExporterStatus) -> Result<()> {
        let heard = self.status.wait_for(|status| *status == wanted);
        patiently(wanted.as_str_name(), heard).await?.context("the controller has ended")?;
        Ok(())
    }
}

struct Service {
    leases: watch::Receiver<Option<String>>,
    reports: watch::Sender<ExporterStatus>,
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ControllerService for Service {
    async fn register(&self, _: Request<RegisterRequest>) -> Reply<RegisterResponse> {
        Ok(Response::new(RegisterResponse { uuid: "exporter".into() }))
    }

    async fn unregister(&self, _: Request<UnregisterRequest>) -> Reply<UnregisterResponse> {
        Ok(Response::new(UnregisterResponse {}))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Reply<ReportStatusResponse> {
        self.reports.send_replace(request.into_inner().status());
        Ok(Response::new(ReportStatusResponse {}))
    }

    type StatusStream = BoxStream<'static, Result<StatusResponse, Status>>;

    async fn status(&self, _: Request<StatusRequest>) -> Reply<Self::StatusStream> {
        let mut leases = self.leases.clone();
        // What is now comes first.
        leases.mark_changed();
        let told = stream::unfold(leases, |mut leases| async {
            leases.changed().await.ok()?;
            let lease_name = leases.borrow_and_update().clone();
            let client_name = lease_name.is_some().then(|| "ann".to_owned());
            let leased = lease_name.is_some();
            let now =
                StatusResponse { leased, lease_name, client_name, ..StatusResponse::default() };
            Some((Ok(now), leases))
        });
        Ok(Response::new(told.boxed()))
    }

    type ListenStream = BoxStream<'static, Result<ListenResponse, Status>>;

    /// No client ever dials.
    async fn listen(&self, _: Request<ListenRequest>) -> Reply<Self::ListenStream> {
        Ok(Response::new(stream::pending().boxed()))
    }

    async fn dial(&self, _: Request<DialRequest>) -> Reply<DialResponse> {
        Err(Status::unimplemented("there are no clients here"))
    }

    async fn release_lease(&self, _: Request<ReleaseLeaseRequest>) -> Reply<ReleaseLeaseResponse> {
        Ok(Response::new(ReleaseLeaseResponse {}))
    }

    async fn get_service_endpoints(
        &self,
        _: Request<GetServiceEndpointsRequest>,
    ) -> Reply<GetServiceEndpointsResponse> {
        Err(Status::unimplemented("as before release 0.9"))
    }
}
