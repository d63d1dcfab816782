//! ControllerService, of which a client only needs `Dial`. Exporters don't register here: those of
//! the lab are in its process.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::BoxStream;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::super::authentication::Authentication;
use super::super::desk::Desk;
use super::super::refused::Refused;
use super::tickets::{Ticket, Tickets};
use super::{Authority, Reply};
use crate::wire;
use crate::wire::controller_service_server::ControllerService;

/// Lets clients dial.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Who they are.
    pub authentication: Arc<Authentication>,
    /// Where their leases are.
    pub desk: Desk,
    /// What they may connect with.
    pub tickets: Arc<Mutex<Tickets>>,
}

#[tonic::async_trait]
impl ControllerService for Controller {
    async fn dial(&self, request: Request<wire::DialRequest>) -> Reply<wire::DialResponse> {
        let caller = self.authentication.caller(&request).await?;
        let client = caller.client.name.clone();
        // Whoever waits for an exporter here keeps nobody from asking anything.
        drop(caller);
        let router_endpoint = match request.extensions().get() {
            Some(Authority(authority)) => authority.clone(),
            None => return Err(Status::invalid_argument("missing :authority")),
        };
        let name = request.into_inner().lease_name;
        if name.is_empty() {
            return Err(Refused::NoName.into());
        }
        let lease = self.desk.lease(&name).await?.lease;
        if lease.client != client {
            return Err(Refused::DialNotYours.into());
        }
        let hold = lease.hold().filter(|_| !lease.has_ended()).ok_or(Refused::NotActive)?;
        let place = self.desk.places().get(&hold.exporter).ok_or(Refused::Offline)?;
        place.open_for(&name).await?;
        let ticket = Ticket { client, lease: name, exporter: hold.exporter.clone() };
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let router_token = tickets.issue(ticket, Instant::now())?;
        Ok(Response::new(wire::DialResponse { router_endpoint, router_token }))
    }

    async fn register(&self, _: Request<wire::RegisterRequest>) -> Reply<wire::RegisterResponse> {
        Err(not_for_exporters())
    }

    async fn unregister(
        &self,
        _: Request<wire::UnregisterRequest>,
    ) -> Reply<wire::UnregisterResponse> {
        Err(not_for_exporters())
    }

    async fn report_status(
        &self,
        _: Request<wire::ReportStatusRequest>,
    ) -> Reply<wire::ReportStatusResponse> {
        Err(not_for_exporters())
    }

    type StatusStream = BoxStream<'static, Result<wire::StatusResponse, Status>>;

    async fn status(&self, _: Request<wire::StatusRequest>) -> Reply<Self::StatusStream> {
        Err(not_for_exporters())
    }

    type ListenStream = BoxStream<'static, Result<wire::ListenResponse, Status>>;

    async fn listen(&self, _: Request<wire::ListenRequest>) -> Reply<Self::ListenStream> {
        Err(not_for_exporters())
    }

    async fn release_lease(
        &self,
        _: Request<wire::ReleaseLeaseRequest>,
    ) -> Reply<wire::ReleaseLeaseResponse> {
        Err(not_for_exporters())
    }

    async fn get_service_endpoints(
        &self,
        _: Request<wire::GetServiceEndpointsRequest>,
    ) -> Reply<wire::GetServiceEndpointsResponse> {
        Err(not_for_exporters())
    }
}

fn not_for_exporters() -> Status {
    Status::unimplemented(
        "a lab has the exporters of its own process only; `hilt run --lab --all` serves several",
    )
}
