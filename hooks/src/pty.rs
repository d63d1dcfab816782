//! The terminal that a script runs in.
//!
//! Not `portable-pty`'s: between opening a terminal and having it closed with every `exec`, it leaves a
//! moment in which a process that is started by somebody else gets hold of it. The script's output would
//! have no end for as long as that lives.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::Pid;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use crate::command::Invocation;
use crate::environment::Environment;
use crate::interpreter;
use crate::outcome::StartError;
use crate::spawn::spawn;
use crate::user::User;

/// A script that has just been started: the leader of a session of its own, with the terminal as
/// its input, output and controlling terminal.
pub(crate) struct Started {
    /// The process id, which is also that of its process group and of its session.
    pub(crate) leader: Pid,
    /// What it writes.
    pub(crate) output: Output,
}

/// Starts a command in a new terminal.
pub(crate) fn start(
    invocation: &Invocation,
    environment: &Environment,
    workdir: &Path,
    user: Option<&User>,
) -> Result<Started, StartError> {
    if !workdir.is_dir() {
        let problem = format!("working directory {} does not exist", workdir.display());
        return Err(StartError::System(problem));
    }
    interpreter::check(&invocation.program, environment.get("PATH"), workdir)?;
    let Terminal { near, far, path } = Terminal::open().map_err(system)?;
    let output = Output::new(near).map_err(system)?;

    let mut command = Command::new(&invocation.program);
    command.args(&invocation.args).current_dir(workdir).env_clear().envs(environment.iter());
    let child = spawn(command, &path, user).map_err(|error| StartError::Interpreter {
        program: invocation.program.to_string_lossy().into_owned(),
        problem: format!("can't be run: {error}"),
    })?;
    // While this end of the terminal is open, the other end never sees the last process close it.
    drop(far);
    let pid = i32::try_from(child.id());
    let leader = pid.map(Pid::from_raw).map_err(|_| system("the process has no id"))?;
    Ok(Started { leader, output })
}

fn system(error: impl std::fmt::Display) -> StartError {
    StartError::System(format!("can't open a terminal: {error}"))
}

/// A terminal, as wide and as high as terminals are.
struct Terminal {
    /// The end that hears what is written to the other.
    near: OwnedFd,
    /// The script's end. Without one that is open, the other hears only that nobody is there.
    far: File,
    path: PathBuf,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        // Not inherited from the start: other threads start processes, too.
        let closed = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let near = posix_openpt(closed)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let path = PathBuf::from(ptsname_r(&near)?);
        let mut open = OpenOptions::new();
        let far = open.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&path)?;
        tcsetwinsize(&far, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        Ok(Self { near: near.into(), far, path })
    }
}

/// The end of the terminal that hears what the script writes.
pub(crate) struct Output {
    /// Not a pipe, but what tokio reads of a pipe is all that is needed of a terminal.
    terminal: Receiver,
}

impl Output {
    fn new(near: OwnedFd) -> io::Result<Self> {
        Ok(Self { terminal: Receiver::from_owned_fd_unchecked(near)? })
    }

    /// Reads what there is; 0 once no process has the terminal open any more. Cancel safe.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.terminal.read(buffer).await {
            // The kernel says EIO where a pipe would say end of file.
            Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(0),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_process_of_somebody_else_ever_has_it_open() {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(Terminal::open().unwrap());
                }
            });
            let others = (0..300).map(|_| {
                let mut other = Command::new("ls");
                other.args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).stderr(Stdio::null());
                String::from_utf8(other.output().unwrap().stdout).unwrap()
            });
            let has_it = others.filter(|open| open.contains("/dev/pt")).collect::<Vec<_>>();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(has_it, [""; 0]);
        });
    }
}
