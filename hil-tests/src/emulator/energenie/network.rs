//! A strip with a network socket: it shows its sockets on a page, to whoever has logged in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::http::{Method, Uri};
use axum::response::Html;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::peers::web::serve;

/// Starts one whose password is `1` as when it is new; returns where it is.
/// `relay` is whether its third socket is on.
pub(crate) async fn energenie(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    // It knows one user at a time.
    let logged_in = Arc::new(Mutex::new(false));
    let page = async move |method: Method, uri: Uri, body: String| {
        let mut logged_in = logged_in.lock().unwrap_or_else(PoisonError::into_inner);
        match (method.as_str(), uri.path(), &*body) {
            ("POST", "/login.html", password) => *logged_in = password == "pw=1",
            ("GET", "/login.html", _) => *logged_in = false,
            ("POST", "/", "cte3=1") if *logged_in => {
                relay.send_replace(true);
            }
            ("POST", "/", "cte3=0") if *logged_in => {
                relay.send_replace(false);
            }
            _ => {}
        }
        let third = u8::from(*relay.borrow());
        Html(match *logged_in {
            true => format!("<script>var sockstates = [1,0,{third},0];</script>"),
            false => "<form action=login.html method=post><input name=pw></form>".to_owned(),
        })
    };
    serve(tasks, Router::new().fallback(page)).await
}
