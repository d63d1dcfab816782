//! A lab that is served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::authentication::{Authentication, Refusals};
use super::certificate::Certificate;
use super::desk::Desk;
use super::directory::{Directory, Lock, Served};
use super::place::Places;
use super::port;
use super::service::{Clients, Controller, Login, Router};
use super::store::Store;
use super::token::Signer;
use crate::shutdown::Shutdown;
use crate::wire::client::client_service_server::ClientServiceServer;
use crate::wire::controller_service_server::ControllerServiceServer;
use crate::wire::router_service_server::RouterServiceServer;

/// How long the lab's tasks may take to notice that it is over.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// A lab, for as long as it is kept. Only one process has it at a time.
#[derive(Debug)]
pub struct Lab {
    _lock: Lock,
    store: Store,
    signer: Arc<Signer>,
}

impl Lab {
    /// Takes a lab for this process.
    ///
    /// # Errors
    ///
    /// Why it can't be served.
    pub fn open(directory: &Directory) -> anyhow::Result<Self> {
        let lock = directory.lock()?;
        let store = Store::open(directory)?;
        let signer = Arc::new(Signer::open(directory)?);
        Ok(Self { _lock: lock, store, signer })
    }

    /// Serves these exporters to the lab's clients, until it is told to stop at once: what the lab has
    /// to do for them, they do before.
    ///
    /// # Errors
    ///
    /// The port has failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        certificate: Certificate,
        served: Served,
        places: Places,
        told: &Shutdown,
    ) -> anyhow::Result<()> {
        // Whatever happens, nobody works at the desk any more when this is over.
        let stop = told.abort.clone();
        let _stopped = stop.clone().drop_guard();
        let names: Vec<_> = places.all().into_keys().collect();
        tracing::info!("lab: {} at {}", names.join(", "), served.address);
        let tasks = TaskTracker::new();
        let desk = Desk::open(self.store.clone(), places, &tasks, told).await?;
        let router = self.router(desk, served.ca).await;
        let serve = port::serve(listener, certificate.acceptor(), router, &tasks, stop.clone());
        tokio::select! {
            served = serve => served.context("the lab's port has failed")?,
            never = certificate.keep() => match never {},
        }
        tasks.close();
        timeout(LAST_MOMENT, tasks.wait()).await.ok();
        Ok(())
    }

    async fn router(&self, desk: Desk, ca: String) -> axum::Router {
        let (store, signer) = (self.store.clone(), Arc::clone(&self.signer));
        let refusals = Arc::new(Refusals::default());
        let authentication =
            Authentication::new(Arc::clone(&signer), store.clone(), Arc::clone(&refusals));
        let authentication = Arc::new(authentication);
        let tickets = Arc::default();
        let clients = Clients {
            authentication: Arc::clone(&authentication),
            desk: desk.clone(),
            store: store.clone(),
            signer: Arc::clone(&signer),
        };
        let controller =
            Controller { authentication, desk: desk.clone(), tickets: Arc::clone(&tickets) };
        let router =
            Router { desk, tickets, refusals: Arc::clone(&refusals), connections: Arc::default() };
        let login = Login { ca, store, signer, refusals };
        let (_, health) = tonic_health::server::health_reporter();
        tonic::service::Routes::new(ClientServiceServer::new(clients))
            .add_service(ControllerServiceServer::new(controller))
            .add_service(RouterServiceServer::new(router))
            .add_service(health)
            .into_axum_router()
            .merge(login.routes())
    }
}
