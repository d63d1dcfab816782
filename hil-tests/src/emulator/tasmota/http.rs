//! A plug by its web interface.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::emulator::web::{Answer, Request, serve};

/// Starts one, whose web interface lets in `admin` with the password `secret`; returns where it is.
/// `relay` is whether it is on.
pub(crate) async fn tasmota_with_web(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let answer = move |request: &Request| {
        let Some(command) = request.target.strip_prefix("/cm?user=admin&password=secret&cmnd=")
        else {
            let text = "Need user=<username>&password=<password>";
            return Answer::json(401, &json!({"WARNING": text}));
        };
        // The space between a command and its argument is sent in either of two ways.
        match &*command.replace("%20", "+").to_ascii_lowercase() {
            "power1+on" => relay.send_replace(true),
            "power1+off" => relay.send_replace(false),
            "power1" => *relay.borrow(),
            _ => return Answer::json(200, &json!({"Command": "Unknown"})),
        };
        let level = if *relay.borrow() { "ON" } else { "OFF" };
        // With one relay it leaves its number out.
        Answer::json(200, &json!({"POWER": level}))
    };
    serve(tasks, answer).await
}
