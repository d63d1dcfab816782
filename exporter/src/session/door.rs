//! A private way to the devices: a Unix socket, with the `j` that goes with it.

use std::env;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    _serving: DropGuard,
}

impl Door {
    /// Opens a door to a bench.
    pub fn open(bench: &Arc<Bench>, origin: Origin) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("hilt-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(runtime_directory())?;
        let stop = bench.serving.child_token();
        let door = Self { directory, _serving: stop.clone().drop_guard() };
        std::fs::create_dir(door.programs())?;
        // Called under that name, this program is `j`.
        symlink(env::current_exe()?, door.programs().join("j"))?;
        let listener = Listener::Unix(UnixListener::bind(door.socket())?);
        door.serve(listener, origin, bench, stop);
        Ok(door)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
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
