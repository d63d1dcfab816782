//! ClientService: what clients ask of leases and exporters.

use std::sync::Arc;

use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::super::authentication::{Authentication, Caller};
use super::super::desk::{Desk, Query, Update};
use super::super::label;
use super::super::lease::{Lease, Stage, TAG_PREFIX};
use super::super::name::{Kind, NAMESPACE, parse_parent};
use super::super::page::Page;
use super::super::present;
use super::super::quote::quoted;
use super::super::refused::Refused;
use super::super::selector::Selector;
use super::super::store::Store;
use super::super::token::{Bearer, Signer};
use super::{Authority, Reply};
use crate::wire::client as wire;
use crate::wire::client::client_service_server::ClientService;

/// How many tags a lease may have, and how much context.
const TAGS: usize = 10;
const CONTEXT: usize = 16 * 1024;

/// Serves the lab's clients.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Who they are.
    pub authentication: Arc<Authentication>,
    /// Where their leases are.
    pub desk: Desk,
    /// Where they themselves are.
    pub store: Store,
    /// Makes their tokens.
    pub signer: Arc<Signer>,
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn get_exporter(
        &self,
        request: Request<wire::GetExporterRequest>,
    ) -> Reply<wire::Exporter> {
        let named = Kind::Exporters.parse(&request.get_ref().name)?;
        let _caller = self.authentication.caller_in(&request, &named.namespace).await?;
        let place = self.desk.places().get(&named.name);
        let place = place.ok_or_else(|| Refused::NoExporter(named.name.clone()))?;
        Ok(Response::new(present::exporter(&named.name, &place)))
    }

    async fn list_exporters(
        &self,
        request: Request<wire::ListExportersRequest>,
    ) -> Reply<wire::ListExportersResponse> {
        let namespace = parse_parent(&request.get_ref().parent)?;
        let _caller = self.authentication.caller_in(&request, &namespace).await?;
        let wire::ListExportersRequest { page_size, page_token, filter, .. } = request.into_inner();
        let filter: Selector = filter.parse().map_err(invalid)?;
        let page = Page::of(page_size, &page_token).map_err(invalid)?;
        let places = self.desk.places().all();
        let wanted = places.iter().filter(|(name, _)| **name > page.after);
        let wanted = wanted.filter(|(_, place)| filter.matches(&place.labels()));
        let mut exporters: Vec<_> = wanted.take(page.size + 1).collect();
        let next_page_token = page.cut(&mut exporters, |(name, _)| name);
        let exporters = exporters.iter().map(|(name, place)| present::exporter(name, place));
        let exporters = exporters.collect();
        Ok(Response::new(wire::ListExportersResponse { exporters, next_page_token }))
    }

    async fn get_lease(&self, request: Request<wire::GetLeaseRequest>) -> Reply<wire::Lease> {
        let named = Kind::Leases.parse(&request.get_ref().name)?;
        let _caller = self.authentication.caller_in(&request, &named.namespace).await?;
        let seen = self.desk.lease(&named.name).await?;
        Ok(Response::new(present::lease(&seen, Timestamp::now())))
    }

    async fn list_leases(
        &self,
        request: Request<wire::ListLeasesRequest>,
    ) -> Reply<wire::ListLeasesResponse> {
        let namespace = parse_parent(&request.get_ref().parent)?;
        let _caller = self.authentication.caller_in(&request, &namespace).await?;
        let request = request.into_inner();
        let filter: Selector = request.filter.parse().map_err(invalid)?;
        let tags =
            request.tag_filter.unwrap_or_default().parse::<Selector>().map_err(|error| {
                Status::invalid_argument(format!("invalid tag_filter: {error}"))
            })?;
        let page = Page::of(request.page_size, &request.page_token).map_err(invalid)?;
        let query = Query {
            filter: filter.and(tags.with_prefix(TAG_PREFIX)),
            ended: !request.only_active.unwrap_or(true),
            page: page.clone(),
        };
        let mut seen = self.desk.leases(query).await?;
        let next_page_token = page.cut(&mut seen, |seen| &seen.lease.name);
        let now = Timestamp::now();
        let leases = seen.iter().map(|seen| present::lease(seen, now)).collect();
        Ok(Response::new(wire::ListLeasesResponse { leases, next_page_token }))
    }

    async fn create_lease(&self, request: Request<wire::CreateLeaseRequest>) -> Reply<wire::Lease> {
        let asked = request.get_ref();
        let Some(wanted) = &asked.lease else {
            return Err(Status::invalid_argument("lease is required"));
        };
        if wanted.selector.is_empty() && wanted.exporter_name().is_empty() {
            let message = "one of selector or exporter_name is required";
            return Err(Status::invalid_argument(message));
        }
        check_tags(wanted)?;
        check_context(wanted)?;
        let namespace = parse_parent(&asked.parent)?;
        let caller = self.authentication.caller_in(&request, &namespace).await?;
        let lease = new_lease(request.into_inner(), &caller)?;
        let seen = self.desk.create(lease).await?;
        Ok(Response::new(present::lease(&seen, Timestamp::now())))
    }

    async fn update_lease(&self, request: Request<wire::UpdateLeaseRequest>) -> Reply<wire::Lease> {
        let Some(lease) = &request.get_ref().lease else {
            return Err(Status::invalid_argument("lease is required"));
        };
        let named = Kind::Leases.parse(&lease.name)?;
        let caller = self.authentication.caller_in(&request, &named.namespace).await?;
        let wanted = present::wanted(lease).map_err(invalid)?;
        let client = match lease.client() {
            "" => None,
            client => Some(self.target(client).await?),
        };
        let update = Update { caller: caller.client.name.clone(), wanted, client };
        let seen = self.desk.update(&named.name, update).await?;
        Ok(Response::new(present::lease(&seen, Timestamp::now())))
    }

    async fn delete_lease(&self, request: Request<wire::DeleteLeaseRequest>) -> Reply<()> {
        let named = Kind::Leases.parse(&request.get_ref().name)?;
        let caller = self.authentication.caller_in(&request, &named.namespace).await?;
        self.desk.delete(&named.name, &caller.client.name).await?;
        Ok(Response::new(()))
    }

    async fn rotate_token(
        &self,
        request: Request<wire::RotateTokenRequest>,
    ) -> Reply<wire::RotateTokenResponse> {
        let namespace = parse_parent(&request.get_ref().parent)?;
        let caller = self.authentication.caller_in(&request, &namespace).await?;
        let issuer = issuer(&request);
        let Caller { client, is_outdated, .. } = &caller;
        let name = client.name.clone();
        let now = Timestamp::now();
        let is_latest = !is_outdated && {
            let client = client.clone();
            let rotated = self.store.ask(move |database| database.rotate(&client, now)).await;
            rotated.map_err(|error| Refused::Store(error.to_string()))?
        };
        if !is_latest {
            // Whoever has an old token is not to get a new one by it.
            let message = "this token was rotated before; use the one that has taken its place";
            return Err(Status::permission_denied(message));
        }
        tracing::info!(client = name, "token rotated");
        let generation = client.generation + 1;
        let bearer = Bearer { client: name, id: client.id, generation };
        let issued = self.signer.issue(&bearer, &issuer, client.life, now);
        let issued =
            issued.map_err(|error| Status::internal(format!("failed to sign token: {error}")))?;
        Ok(Response::new(wire::RotateTokenResponse {
            token: issued.token.reveal().to_owned(),
            expiry: Some(present::timestamp(issued.expiry)),
        }))
    }
}

impl Clients {
    /// The client that a lease is to go to.
    async fn target(&self, identifier: &str) -> Result<String, Status> {
        let named = Kind::Clients.parse(identifier)?;
        if named.namespace != NAMESPACE {
            return Err(Refused::OtherNamespace.into());
        }
        let name = named.name.clone();
        let found = self.store.ask(move |database| database.client(&name)).await;
        match found.map_err(|error| Refused::Store(error.to_string()))? {
            Some(client) => Ok(client.name),
            None => Err(Refused::NoTarget(named.name).into()),
        }
    }
}

/// The lab's own URL, as the client of a request knows it.
fn issuer<T>(request: &Request<T>) -> String {
    let authority = request.extensions().get::<Authority>();
    authority.map_or_else(String::new, |Authority(authority)| format!("https://{authority}"))
}

fn new_lease(request: wire::CreateLeaseRequest, caller: &Caller) -> Result<Lease, Status> {
    let wire::CreateLeaseRequest { lease_id, lease, .. } = request;
    let wanted = lease.unwrap_or_default();
    let selector = wanted
        .selector
        .parse()
        .map_err(|error| Refused::Invalid(format!("failed to parse label selector: {error}")))?;
    let terms = present::wanted(&wanted).and_then(super::super::terms::Wanted::complete);
    let name = match &*lease_id {
        "" => Uuid::now_v7().to_string(),
        name if label::is_domain(name) => lease_id,
        _ => return Err(Refused::BadName(lease_id).into()),
    };
    Ok(Lease {
        name,
        client: caller.client.name.clone(),
        selector,
        terms: terms.map_err(invalid)?,
        exporter_name: wanted.exporter_name.filter(|name| !name.is_empty()),
        allow_disabled: wanted.allow_disabled,
        tags: wanted.tags.into_iter().collect(),
        context: wanted.context.into_iter().collect(),
        created: Timestamp::now(),
        stage: Stage::Scheduled,
        deleted: false,
    })
}

fn check_tags(lease: &wire::Lease) -> Result<(), Status> {
    let invalid = |what: String| Status::invalid_argument(format!("invalid lease tags: {what}"));
    if lease.tags.len() > TAGS {
        return Err(invalid(format!("too many tags: {} (maximum {TAGS})", lease.tags.len())));
    }
    for (key, value) in &lease.tags {
        let shown = quoted(key);
        if key.starts_with(TAG_PREFIX) || key.starts_with("jumpstarter.dev/") {
            return Err(invalid(format!("tag key {shown} must not use reserved prefix")));
        }
        if key.contains('/') {
            let advice = "must not contain '/' (use simple names without prefix)";
            return Err(invalid(format!("tag key {shown} {advice}")));
        }
        label::check_key(key).map_err(|error| {
            invalid(format!("tag key {shown} is not a valid label key: {error}"))
        })?;
        label::check_value(value).map_err(|error| {
            invalid(format!("tag value for key {shown} is not a valid label value: {error}"))
        })?;
    }
    Ok(())
}

/// Hooks get it in their environment, which has little room.
fn check_context(lease: &wire::Lease) -> Result<(), Status> {
    let size: usize = lease.context.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > CONTEXT {
        let message = format!("invalid lease context: {size} bytes (maximum {CONTEXT})");
        return Err(Status::invalid_argument(message));
    }
    let is_bad = |text: &String| text.contains('\0');
    if lease.context.iter().any(|(key, value)| is_bad(key) || is_bad(value)) {
        return Err(Status::invalid_argument("invalid lease context: a NUL byte"));
    }
    Ok(())
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Refused::Invalid(error.to_string()).into()
}
