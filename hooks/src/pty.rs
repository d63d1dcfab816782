//! The terminal that a script runs in.
//!
//! `portable-pty` opens it. It is not used for spawning (see [`crate::spawn`]), nor for ending a script
//! (its `kill` signals a single process), nor for reading (its readers block a thread).

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;
use portable_pty::{PtyPair, PtySize, native_pty_system};
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
    let PtyPair { master, slave } =
        native_pty_system().openpty(PtySize::default()).map_err(system)?;
    let output = Output::new(master.as_raw_fd()).map_err(system)?;

    let mut command = Command::new(&invocation.program);
    command.args(&invocation.args).current_dir(workdir).env_clear().envs(environment.iter());
    let terminal = master.tty_name().ok_or_else(|| system("it has no name"))?;
    let child = spawn(command, &terminal, user).map_err(|error| StartError::Interpreter {
        program: invocation.program.to_string_lossy().into_owned(),
        problem: format!("can't be run: {error}"),
    })?;
    // While this end of the terminal is open, the other end never sees the last process close it.
    drop(slave);
    let pid = i32::try_from(child.id());
    let leader = pid.map(Pid::from_raw).map_err(|_| system("the process has no id"))?;
    Ok(Started { leader, output })
}

fn system(error: impl std::fmt::Display) -> StartError {
    StartError::System(format!("can't open a terminal: {error}"))
}

/// The end of the terminal that hears what the script writes.
pub(crate) struct Output {
    /// Not a pipe, but what tokio reads of a pipe is all that is needed of a terminal.
    terminal: Receiver,
}

impl Output {
    fn new(master: Option<i32>) -> io::Result<Self> {
        let master = master.ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the caller holds the master open during this call, and only a duplicate of it
        // outlives the borrow.
        #[expect(unsafe_code, reason = "portable-pty lends its descriptor as a bare number")]
        let master = unsafe { BorrowedFd::borrow_raw(master) };
        let terminal = master.try_clone_to_owned()?;
        let flags = OFlag::from_bits_retain(fcntl(&terminal, FcntlArg::F_GETFL)?);
        fcntl(&terminal, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { terminal: Receiver::from_owned_fd_unchecked(terminal)? })
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
