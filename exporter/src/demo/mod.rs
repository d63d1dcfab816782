//! `hilt demo`: the whole story of a lease on a virtual bench, as it happens.
//!
//! Nothing here is staged: the exporter is the one that `hilt run` runs, its hooks run in a real
//! shell, and the client is the real `j`. The story is told from the exporter's own log.

mod client;
mod screen;
mod story;

use std::io;
use std::path::Path;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::client::Client;
use self::screen::Screen;
use self::story::{Said, Story};
use crate::app::{Setup, Standalone, State};
use crate::config::{Environment, parse};
use crate::session::listener::Listener;
use crate::session::log::LogReader;
use crate::shutdown::Shutdown;
use crate::state::StateDir;

/// The bench, which is also a file that people can read and change.
const CONFIGURATION: &str = include_str!("../../../configs/demo.yaml");

/// Where the demo serves, if nobody else does.
const PORT: u16 = 8082;

/// Runs the demo until its lease is over, or, if it is to `stay`, until `shutdown`; returns the
/// exit code.
///
/// # Errors
///
/// If the story does not go as it should.
pub async fn run(stay: bool, state: &StateDir, shutdown: Shutdown) -> anyhow::Result<u8> {
    let name = Path::new("configs/demo.yaml");
    let config = parse(name, CONFIGURATION.as_bytes(), &Environment::of_process())?.config;
    let state = Some(State::open(state.of_exporter(&config.metadata.name))?);
    let setup = Setup { config, file: name.into(), exit_on_lease_end: false, state };
    let exporter = Standalone::new(setup, &shutdown)?;
    let listener = listen().await?;
    let address = listener.local_addr()?;
    let log = exporter.bench().log.reader();
    let mut screen = Screen::new(io::stdout());
    screen.title(&format!("A virtual bench ({}) on {address}", name.display()))?;

    let (heard, said) = mpsc::channel(64);
    let client = Client::new(address, heard.clone())?;
    let mut story = Story::new(screen, said);
    let tell = async {
        let whole = async {
            story.tell(&client).await?;
            if stay {
                story.next_steps(address, &client.j())?;
                story.go_on().await?;
            }
            anyhow::Ok(())
        };
        // Whoever ends it half way does not want to hear that it was not told to its end.
        let told = shutdown.drain.run_until_cancelled(whole).await.transpose();
        shutdown.drain.cancel();
        told
    };
    let serve = async {
        let code = exporter.run(Listener::Tcp(listener), None, &shutdown).await;
        shutdown.drain.cancel();
        code
    };
    // The exporter has the last word: it ends when everything is closed.
    tokio::select! {
        (code, told) = async { tokio::join!(serve, tell) } => told.and(code),
        never = listen_to(log, &heard) => match never {},
    }
}

async fn listen() -> anyhow::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", PORT)).await {
        Ok(listener) => Ok(listener),
        // Somebody else is there; any other port is as good.
        Err(_) => TcpListener::bind("127.0.0.1:0").await.context("can't listen on 127.0.0.1"),
    }
}

/// Passes on what the exporter says.
async fn listen_to(mut log: LogReader, heard: &mpsc::Sender<Said>) -> std::convert::Infallible {
    loop {
        let record = log.next().await;
        // Nobody listens any more once the story is told.
        heard.send(Said::Exporter(record)).await.ok();
    }
}
