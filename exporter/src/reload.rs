//! A configuration that changes while its exporter runs.
//!
//! SIGHUP, `hilt reload` and a changed file lead here. What can be used is passed on to whoever
//! follows the configuration, in the end [`crate::lifecycle`]; what can't is refused with its
//! mistakes, and the old configuration goes on.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use crate::config::watch::Watch;
use crate::config::{Config, Environment, load_to_run};
use crate::shutdown::Shutdown;

/// Where reloads are asked for. Clones are the same.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<Request>);

/// Someone who waits for the outcome.
pub type Request = oneshot::Sender<Result<(), String>>;

/// Reads one exporter's configuration again when it is asked to.
#[derive(Debug)]
pub struct Reloader {
    file: PathBuf,
    config: watch::Sender<Arc<Config>>,
    requests: mpsc::Receiver<Request>,
}

impl Reloads {
    /// A place to ask, and where that is heard.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(1);
        (Self(sender), requests)
    }

    /// Has the configuration read again. Returns once that is decided; drivers may still have to
    /// wait for the end of the lease.
    ///
    /// # Errors
    ///
    /// What is wrong with the new configuration; the old one goes on.
    pub async fn reload(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the exporter is stopping".to_owned();
        self.0.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Reloader {
    /// For the configuration that was read from `file`; and where to ask it.
    pub fn new(file: PathBuf, config: Arc<Config>) -> (Self, Reloads) {
        let (reloads, requests) = Reloads::new();
        let config = watch::Sender::new(config);
        (Self { file, config, requests }, reloads)
    }

    /// The configuration as it is to be, as it changes.
    pub fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Reloads whenever it is asked to, for as long as it is polled.
    pub async fn run(mut self, shutdown: &Shutdown) -> Infallible {
        let mut watch = self.watch();
        let mut hangups = shutdown.hangups();
        loop {
            let request = tokio::select! {
                Ok(()) = hangups.changed() => None,
                () = changed(&mut watch) => None,
                Some(request) = self.requests.recv() => Some(request),
            };
            let outcome = self.reload().await;
            if let Some(watch) = &mut watch {
                watch.follow(&self.config.borrow());
            }
            match &outcome {
                Ok(()) => tracing::info!("{} was read again", self.file.display()),
                Err(mistakes) => {
                    tracing::error!(
                        "the old configuration goes on; the new one has mistakes:\n{mistakes}"
                    );
                }
            }
            if let Some(request) = request {
                // Whoever no longer waits doesn't need to know.
                request.send(outcome).ok();
            }
        }
    }

    /// Without it, one has to ask.
    fn watch(&self) -> Option<Watch> {
        let watch = Watch::new(&self.file, &self.config.borrow());
        if let Err(error) = &watch {
            let file = self.file.display();
            tracing::warn!("changes of {file} are only noticed when asked to reload: {error}");
        }
        watch.ok()
    }

    async fn reload(&self) -> Result<(), String> {
        let file = self.file.clone();
        // Drivers are tried, and files read.
        let loading = spawn_blocking(move || load_to_run(&file, &Environment::of_process()));
        let loaded = loading.await.map_err(|error| error.to_string())?;
        let loaded = loaded.map_err(|mistakes| mistakes.to_string())?;
        let (name, new) =
            (self.config.borrow().metadata.name.clone(), &loaded.config.metadata.name);
        if *new != name {
            let file = self.file.display();
            return Err(format!(
                "{file}: metadata.name: is '{new}', but the exporter that runs is '{name}'; \
                 restart it to give it another name"
            ));
        }
        for warning in loaded.warnings.to_string().lines() {
            tracing::warn!("{warning}");
        }
        // Also where it says the same, as a script that it refers to may not.
        self.config.send_replace(Arc::new(loaded.config));
        Ok(())
    }
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
