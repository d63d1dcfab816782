//! A plug by its web interface.

use std::net::SocketAddr;

use anyhow::Result;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::peers::web::serve;

/// Starts one, whose web interface lets in `admin` with the password `secret`; returns where it is.
/// `relay` is whether it is on.
pub(crate) async fn tasmota_with_web(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let page = async move |Query(asked): Query<Asked>| asked.answer(&relay);
    serve(tasks, Router::new().route("/cm", get(page))).await
}

/// A command, and who sends it.
#[derive(Debug, Deserialize)]
struct Asked {
    user: String,
    password: String,
    cmnd: String,
}

impl Asked {
    fn answer(&self, relay: &watch::Sender<bool>) -> (StatusCode, Json<Value>) {
        if (&*self.user, &*self.password) != ("admin", "secret") {
            let text = "Need user=<username>&password=<password>";
            return (StatusCode::UNAUTHORIZED, Json(json!({"WARNING": text})));
        }
        match &*self.cmnd.to_ascii_lowercase() {
            "power1 on" => relay.send_replace(true),
            "power1 off" => relay.send_replace(false),
            "power1" => *relay.borrow(),
            _ => return (StatusCode::OK, Json(json!({"Command": "Unknown"}))),
        };
        let level = if *relay.borrow() { "ON" } else { "OFF" };
        // With one relay it leaves its number out.
        (StatusCode::OK, Json(json!({"POWER": level})))
    }
}
