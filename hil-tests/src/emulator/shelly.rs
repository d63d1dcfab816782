//! Shellys: relays with a web interface, of two generations.
//!
//! The first has a page for each relay ("Shelly 1", `/relay/0` in Shelly's API documentation), and
//! this one asks for a password. The second is spoken to in JSON-RPC ("Gen2+ Device API", component
//! `Switch`).

use std::net::SocketAddr;

use anyhow::Result;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::peers::web::serve;

/// Starts one of the second generation; returns where it is. `relay` is whether it is on.
pub(crate) async fn shelly(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let about = Json(json!({"id": "shellyplug-1", "gen": 2, "auth_en": false}));
    let calls = async move |Json(request): Json<Value>| Json(call(&request, &relay));
    let no_page = (StatusCode::NOT_FOUND, Json(json!({"code": 404, "message": "No handler"})));
    let pages = Router::new().route("/shelly", get(about)).route("/rpc", post(calls));
    serve(tasks, pages.fallback(async || no_page)).await
}

fn call(request: &Value, relay: &watch::Sender<bool>) -> Value {
    let id = &request["id"];
    let params = &request["params"];
    if params["id"] != 0 {
        return json!({"id": id, "error": {"code": -105, "message": "id not found!"}});
    }
    match (request["method"].as_str(), params["on"].as_bool()) {
        (Some("Switch.Set"), Some(on)) => {
            let was_on = relay.send_replace(on);
            json!({"id": id, "result": {"was_on": was_on}})
        }
        (Some("Switch.GetStatus"), _) => {
            let on = *relay.borrow();
            json!({"id": id, "result": {"id": 0, "source": "HTTP_in", "output": on}})
        }
        _ => json!({"id": id, "error": {"code": 404, "message": "no handler"}}),
    }
}

/// Starts one of the first generation, which lets in `admin` with the password `secret`; returns
/// where it is. `relay` is whether it is on.
pub(crate) async fn first_shelly(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    /// Of `admin:secret`, in Base64.
    const LOGIN: &str = "Basic YWRtaW46c2VjcmV0";
    let page = async move |headers: HeaderMap, Query(asked): Query<Asked>| {
        if headers.get(header::AUTHORIZATION).is_none_or(|login| login != LOGIN) {
            return (StatusCode::UNAUTHORIZED, "401 Unauthorized").into_response();
        }
        if let Some(turn) = asked.turn {
            relay.send_replace(turn == Turn::On);
        }
        let on = *relay.borrow();
        Json(json!({"ison": on, "has_timer": false, "source": "http"})).into_response()
    };
    serve(tasks, Router::new().route("/relay/0", get(page))).await
}

/// What the page of a relay can be asked for.
#[derive(Debug, Deserialize)]
struct Asked {
    turn: Option<Turn>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Turn {
    On,
    Off,
}
