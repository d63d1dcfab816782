//! A strip with a network socket: it shows its sockets on a page, to whoever has logged in.

use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::emulator::web::{Answer, Request, serve};

/// Starts one whose password is `1` as when it is new; returns where it is.
/// `relay` is whether its third socket is on.
pub(crate) async fn energenie(
    tasks: &mut JoinSet<()>,
    relay: watch::Sender<bool>,
) -> Result<SocketAddr> {
    // It knows one user at a time.
    let logged_in = Mutex::new(false);
    let answer = move |request: &Request| {
        let Ok(mut logged_in) = logged_in.lock() else { return Answer::page(500, "") };
        match (&*request.method, &*request.target, &*request.body) {
            ("POST", "/login.html", password) => *logged_in = password == b"pw=1",
            ("GET", "/login.html", _) => *logged_in = false,
            ("POST", "/", b"cte3=1") if *logged_in => {
                relay.send_replace(true);
            }
            ("POST", "/", b"cte3=0") if *logged_in => {
                relay.send_replace(false);
            }
            _ => {}
        }
        let third = u8::from(*relay.borrow());
        Answer::page(
            200,
            match *logged_in {
                true => format!("<script>var sockstates = [1,0,{third},0];</script>"),
                false => "<form action=login.html method=post><input name=pw></form>".to_owned(),
            },
        )
    };
    serve(tasks, answer).await
}
