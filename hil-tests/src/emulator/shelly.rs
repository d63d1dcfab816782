//! Shellys: relays with a web interface, of two generations.
//!
//! The first has a page for each relay ("Shelly 1", `/relay/0` in Shelly's API documentation), and
//! this one asks for a password. The second is spoken to in JSON-RPC ("Gen2+ Device API", component
//! `Switch`).

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::web::{Answer, Request, serve};

/// Starts one of the second generation; returns where it is. `relay` is whether it is on.
pub(crate) async fn shelly(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let answer = move |request: &Request| match (&*request.method, &*request.target) {
        ("GET", "/shelly") => {
            Answer::json(200, &json!({"id": "shellyplug-1", "gen": 2, "auth_en": false}))
        }
        ("POST", "/rpc") => Answer::json(200, &call(&request.body, &relay)),
        _ => Answer::json(404, &json!({"code": 404, "message": "No handler"})),
    };
    serve(tasks, answer).await
}

fn call(body: &[u8], relay: &watch::Sender<bool>) -> Value {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return json!({"error": {"code": -32700, "message": "no JSON"}});
    };
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
    let answer = move |request: &Request| {
        if request.header("authorization") != Some(LOGIN) {
            return Answer::page(401, "401 Unauthorized");
        }
        match (&*request.method, &*request.target) {
            ("GET", "/relay/0?turn=on") => relay.send_replace(true),
            ("GET", "/relay/0?turn=off") => relay.send_replace(false),
            ("GET", "/relay/0") => *relay.borrow(),
            _ => return Answer::page(404, "Not Found"),
        };
        Answer::json(200, &json!({"ison": *relay.borrow(), "has_timer": false, "source": "http"}))
    };
    serve(tasks, answer).await
}
