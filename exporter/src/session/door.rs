//! A private way to the devices: a Unix socket, with the `j` that goes with it.

use std::collections::HashSet;
use std::env;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::unistd::{Uid, geteuid};

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::admission::Origin;
use super::bench::Bench;
use super::listener::{self, Listener};

/// A socket in a directory of its own, which only its owner may enter. Dropping it ends what came
/// through the socket and removes the directory.
#[derive(Debug)]
pub struct Door {
    directory: TempDir,
    guests: Guests,
    _serving: DropGuard,
}

/// What a hook has to know of a door.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// The socket.
    pub socket: PathBuf,
    /// The directory in which a hook finds `j`.
    pub programs: PathBuf,
    /// The file into which a beforeLease hook may write a message for the client.
    pub motd_file: PathBuf,
    guests: Guests,
}

/// The users who may come in besides the exporter's own. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Guests(Arc<Mutex<HashSet<Uid>>>);

impl Guests {
    /// Whether this user may come in.
    pub fn include(&self, user: Uid) -> bool {
        self.lock().contains(&user)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance {
    /// Lets the processes of a hook in that runs as another user.
    ///
    /// # Errors
    ///
    /// The system doesn't let others in; only root can.
    pub fn let_in(&self, user: Uid) -> io::Result<()> {
        if user == geteuid() || !self.guests.lock().insert(user) {
            return Ok(());
        }
        let mut create = OpenOptions::new();
        let motd = create.write(true).create(true).truncate(false).mode(0o600);
        fchown(motd.open(&self.motd_file)?, Some(user.as_raw()), None)?;
        // Others can pass, but not look around; who they are is asked at the socket.
        fs::set_permissions(&self.socket, Permissions::from_mode(0o666))?;
        let directory = self.socket.parent().unwrap_or(&self.socket);
        fs::set_permissions(directory, Permissions::from_mode(0o711))
    }
}

impl Door {
    /// Opens a door to a bench.
    pub fn open(bench: &Arc<Bench>, origin: Origin) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("hilt-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(runtime_directory())?;
        let stop = bench.serving.child_token();
        let guests = Guests::default();
        let door = Self { directory, guests, _serving: stop.clone().drop_guard() };
        fs::create_dir(door.programs())?;
        // Called under that name, this program is `j`.
        symlink(env::current_exe()?, door.programs().join("j"))?;
        let listener = Listener::Unix(UnixListener::bind(door.socket())?, door.guests.clone());
        door.serve(listener, origin, bench, stop);
        Ok(door)
    }

    /// What a hook has to know.
    pub fn entrance(&self) -> Entrance {
        Entrance {
            socket: self.socket(),
            programs: self.programs(),
            motd_file: self.path().join("motd"),
            guests: self.guests.clone(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("socket")
    }

    /// The directory in which `j` is.
    pub fn programs(&self) -> PathBuf {
        self.path().join("bin")
    }

    fn serve(
        &self,
        listener: Listener,
        origin: Origin,
        bench: &Arc<Bench>,
        stop: CancellationToken,
    ) {
        let serve = listener::serve(listener, origin, Arc::clone(bench), None, stop);
        bench.tasks.spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!("a private socket has failed: {error}");
            }
        });
    }
}

/// `$RUNTIME_DIRECTORY` (systemd's), else `$XDG_RUNTIME_DIR`, else where temporary files go.
fn runtime_directory() -> PathBuf {
    ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"]
        .into_iter()
        .filter_map(env::var_os)
        // systemd lists several directories with colons between them.
        .filter_map(|value| env::split_paths(&value).next())
        .find(|path| path.is_dir())
        .unwrap_or_else(env::temp_dir)
}
