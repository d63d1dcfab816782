//! A Shelly of the second generation: a relay that is switched by JSON-RPC over HTTP.
//!
//! The methods are those of Shelly's API documentation, "Gen2+ Device API", component `Switch`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Starts one; returns where it is. `relay` is whether it is on.
pub(crate) async fn shelly(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a Shelly")?;
    let address = listener.local_addr()?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            let relay = relay.clone();
            // Whoever hangs up early doesn't hear the answer.
            connections.spawn(async move { drop(serve(connection, &relay).await) });
        }
    });
    Ok(address)
}

/// One request and its answer.
async fn serve(connection: TcpStream, relay: &watch::Sender<bool>) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let (mut first, mut length) = (String::new(), 0);
    connection.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    let (status, answer) = match first.split(' ').take(2).collect::<Vec<_>>().as_slice() {
        ["GET", "/shelly"] => (200, json!({"id": "shellyplug-1", "gen": 2, "auth_en": false})),
        ["POST", "/rpc"] => (200, call(&body, relay)),
        _ => (404, json!({"code": 404, "message": "No handler"})),
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        answer.len()
    );
    connection.write_all(format!("{head}{answer}").as_bytes()).await?;
    connection.shutdown().await
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
