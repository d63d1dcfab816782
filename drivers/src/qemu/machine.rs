//! One emulated board: whether it is on, and what goes with that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::cidata;
use super::command::{self, DISK, Sockets, Start};
use super::config::{Config, Partition};
use super::running::{Launch, Running};
use super::size;
use super::store::{Disk, Store};
use crate::console::Console;
use crate::power::switch::State;
use crate::{DriverError, Result, blocking};

/// How long work with the file system may take.
const FILES_LIMIT: Duration = Duration::from_secs(30);

/// An emulated board.
#[derive(Debug)]
pub(super) struct Machine {
    config: Arc<Config>,
    instance: Uuid,
    console: Arc<Console>,
    store: Store,
    sizes: Lock<Sizes>,
    /// Held while the board is switched.
    running: Mutex<Option<Running>>,
}

/// What a lease may change, in bytes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    memory: u64,
    disk: Option<u64>,
}

impl Machine {
    /// A board that is off. The configuration was checked.
    pub(super) fn new(config: Config) -> Self {
        let store = Store::new(config.default_partitions.clone());
        let sizes = Lock::new(Sizes::of(&config));
        let (instance, running) = (Uuid::new_v4(), Mutex::default());
        let config = Arc::new(config);
        Self { config, instance, console: Arc::default(), store, sizes, running }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) const fn console(&self) -> &Arc<Console> {
        &self.console
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// From the next start on.
    pub(super) fn set_memory_size(&self, bytes: u64) {
        self.sizes().memory = bytes;
    }

    /// From the next start on.
    pub(super) fn set_disk_size(&self, bytes: u64) {
        self.sizes().disk = Some(bytes);
    }

    /// Where QEMU is.
    ///
    /// # Errors
    ///
    /// If it is not installed: which package has it.
    pub(super) fn program(&self) -> Result<PathBuf> {
        let name = format!("qemu-system-{}", self.config.arch);
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let is_program = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let mut places = std::env::split_paths(&folders).map(|folder| folder.join(&name));
        places.find(is_program).ok_or_else(|| {
            let package = command::package(&self.config.arch);
            DriverError::NotFound(format!(
                "{name} is not installed: on Debian, 'apt-get install {package}'"
            ))
        })
    }

    /// Switches the board on. One that is on stays as it is.
    pub(super) async fn on(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if let Some(board) = &*running
            && board.is_on().await?
        {
            tracing::info!("the board is on already");
            return Ok(());
        }
        *running = None;
        *running = Some(Running::start(self.prepare().await?, &self.console).await?);
        tracing::info!("board powered on");
        Ok(())
    }

    /// Takes the power away. Returns when nothing runs any more.
    pub(super) async fn off(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        let Some(board) = running.take() else {
            tracing::debug!("the board is off already");
            return Ok(());
        };
        board.stop().await?;
        tracing::info!("board powered off");
        Ok(())
    }

    pub(super) async fn status(&self) -> Result<State> {
        let running = self.running.lock().await;
        match &*running {
            Some(board) => board.is_on().await.map(State::from),
            None => Ok(State::Off),
        }
    }

    /// Where the screen is to be seen; none while the board is off.
    pub(super) async fn vnc(&self) -> Option<PathBuf> {
        let running = self.running.lock().await;
        running.as_ref().map(|board| board.sockets.vnc.clone())
    }

    /// Takes the power away and forgets everything but the configuration.
    pub(super) async fn reset(&self) {
        if let Err(error) = self.off().await {
            tracing::error!("{error}");
        }
        self.store.clear().await;
        *self.sizes() = Sizes::of(&self.config);
    }

    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that a start needs.
    async fn prepare(&self) -> Result<Launch> {
        let program = self.program()?;
        let sizes = *self.sizes();
        let (folder, cidata) = self.folder().await?;
        let sockets = Sockets::below(folder.path());
        let disk = self.store.disk().await?;
        let resize = self.enlarge(disk.clone(), sizes.disk).await?;
        let bios = self.store.file(Partition::Bios).await?;
        let code = self.store.file(Partition::OvmfCode).await?;
        let variables = self.store.file(Partition::OvmfVars).await?;
        let start = Start {
            config: &self.config,
            memory: sizes.memory,
            kvm: access("/dev/kvm", AccessFlags::R_OK | AccessFlags::W_OK).is_ok(),
            sockets: &sockets,
            disk: disk.as_ref(),
            bios: bios.as_deref(),
            flash: code.as_deref().zip(variables.as_deref()),
            cidata: &cidata,
        };
        let arguments = start.arguments();
        Ok(Launch { program, arguments, sockets, folder, resize })
    }

    /// A folder for one start, with what cloud-init reads.
    async fn folder(&self) -> Result<(TempDir, PathBuf)> {
        let (config, instance) = (Arc::clone(&self.config), self.instance);
        let create = move || {
            let folder = tempfile::Builder::new().prefix("hilt-qemu-").tempdir()?;
            let cidata = cidata::write(folder.path(), &config, instance)?;
            Ok((folder, cidata))
        };
        let failed = |error| DriverError::io("create a folder for QEMU", error);
        let create = move || create().map_err(failed);
        blocking::run("create a folder for QEMU", FILES_LIMIT, create).await
    }

    /// Brings the disk to its size, as far as that is to be done here. Returns what QEMU is to do.
    async fn enlarge(&self, disk: Option<Disk>, size: Option<u64>) -> Result<Option<Value>> {
        let Some(disk) = disk else { return Ok(None) };
        let is_card = self.config.is_board();
        let enlarge = move || disk.enlarge(size, is_card);
        let rest = blocking::run("enlarge the disk", FILES_LIMIT, enlarge).await?;
        let name = if is_card { "device" } else { "node-name" };
        Ok(rest.map(|size| json!({name: DISK, "size": size})))
    }
}

impl Sizes {
    fn of(config: &Config) -> Self {
        let checked = "because the configuration was checked";
        let disk = config.disk_size.as_ref().map(|size| size::disk(size).expect(checked));
        Self { memory: size::memory(&config.mem).expect(checked), disk }
    }
}
