//! The history of hooks over HTTP, for dashboards and for tools that were written for Chef.
//!
//! | page | what it has |
//! |---|---|
//! | `GET /v1/hook-executions` | `{"items": [...], "next": ID or null}`, the latest first |
//! | `GET /v1/hook-executions/ID` | one of them |
//!
//! An item is an [`Execution`]. A list can be narrowed down by `exporter`, `event`, `lease`, `driver`,
//! `status` and `since`, as with `hilt hooks history`. It has at most `limit` items (50; 500 are
//! allowed), and fewer if they are large; `before=ID`, with the `next` of one page, asks for the
//! following one. Errors are `{"error": TEXT}`.
//!
//! It answers whoever can connect, which is why it listens on the loopback interface unless told
//! otherwise. There, it also wants to be called by a name of that interface: a page in somebody's
//! browser could otherwise reach it under a name of its own (DNS rebinding).

mod execution;
mod host;
mod query;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

pub use self::execution::Execution;
use self::query::Wanted;
use crate::state::ExporterDir;
use crate::store::{Histories, StoreError};

/// How many bytes of output a page has at most, if it has more than one item.
const PAGE: usize = 4 << 20;

/// How long a client may still take when the exporter stops.
const LAST_MOMENT: Duration = Duration::from_secs(2);

type Exporters = Arc<[ExporterDir]>;

/// Serves the history of some exporters until it is told to stop.
///
/// # Errors
///
/// If nothing can be accepted any more.
pub async fn serve(
    listener: TcpListener,
    exporters: Vec<ExporterDir>,
    stop: CancellationToken,
) -> io::Result<()> {
    let is_local = listener.local_addr()?.ip().is_loopback();
    let mut router = Router::new()
        .route("/v1/hook-executions", get(list))
        .route("/v1/hook-executions/{id}", get(one))
        .fallback(async || Refusal(StatusCode::NOT_FOUND, "no such page".into()))
        .method_not_allowed_fallback(async || {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, "there is only GET".into())
        })
        .with_state(Exporters::from(exporters));
    if is_local {
        router = router.layer(middleware::from_fn(host::check));
    }
    let server =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        ended = server => ended,
        () = late => Ok(()),
    }
}

/// What is said instead of an answer.
#[derive(Debug)]
struct Refusal(StatusCode, String);

/// Some executions, and where the next ones begin.
#[derive(Debug, Serialize)]
struct Page {
    items: Vec<Execution>,
    next: Option<String>,
}

async fn list(
    State(exporters): State<Exporters>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Page>, Refusal> {
    let Query(wanted) =
        query.map_err(|rejection| Refusal(StatusCode::BAD_REQUEST, rejection.body_text()))?;
    blocking(move || page(&exporters, &wanted)).await
}

async fn one(
    State(exporters): State<Exporters>,
    Path(id): Path<String>,
) -> Result<Json<Execution>, Refusal> {
    blocking(move || {
        let histories = Histories::open(&exporters)?;
        let found = query::run(&histories, &id)?
            .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("no run '{id}'")))?;
        Ok(Execution::new(&found, histories.output(&found)?))
    })
    .await
}

fn page(exporters: &[ExporterDir], wanted: &Wanted) -> Result<Page, Refusal> {
    let exporters: Vec<_> =
        exporters.iter().filter(|one| wanted.is_of(&one.exporter)).cloned().collect();
    let histories = Histories::open(&exporters)?;
    let limit = wanted.limit()?;
    let mut filter = wanted.filter(&histories, Timestamp::now())?;
    // One more, to know whether there is more.
    filter.limit = Some(limit + 1);
    let found = histories.runs(&filter)?;
    let mut page = Page { items: Vec::new(), next: None };
    let mut bytes = 0;
    for (number, one) in (0..).zip(&found) {
        if number == limit || bytes > PAGE {
            page.next = page.items.last().map(|item: &Execution| item.id.clone());
            break;
        }
        let output = histories.output(one)?;
        bytes += output.kept();
        page.items.push(Execution::new(one, output));
    }
    Ok(page)
}

/// Reads from the stores without holding up anybody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<Json<T>, Refusal> {
    match spawn_blocking(work).await {
        Ok(answer) => answer.map(Json),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(json!({ "error": error }))).into_response()
    }
}
