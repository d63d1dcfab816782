//! From a command to a process that leads a session of its own in its own terminal.
//!
//! `portable-pty`'s way to spawn can't change the user, and closes the descriptor on which a failed
//! `exec` would be reported.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::setsid;

use crate::user::User;

nix::ioctl_write_int_bad!(
    /// Makes a terminal the controlling one of the caller's session; see ioctl_tty(2).
    take_terminal,
    libc::TIOCSCTTY
);

/// What the exporter may have been started to ignore, and a script should not.
const IGNORABLE: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGALRM,
];

/// Starts `command` in `terminal`, with the rights of `user` if there is one.
pub(crate) fn spawn(
    mut command: Command,
    terminal: &Path,
    user: Option<&User>,
) -> io::Result<Child> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(terminal)?;
    if let Some(user) = user {
        // Or the script could not open what it writes to, as in `echo > /dev/stderr`.
        std::os::unix::fs::chown(terminal, Some(user.uid.as_raw()), None)?;
    }
    command.stdin(file.try_clone()?).stdout(file.try_clone()?).stderr(file);
    let user = user.cloned();
    let prepare = move || {
        for ignorable in IGNORABLE {
            // SAFETY: restoring a default needs nothing of this process.
            #[expect(unsafe_code, reason = "changing how a signal is handled is")]
            unsafe { signal(ignorable, SigHandler::SigDfl) }?;
        }
        setsid()?;
        // SAFETY: descriptor 0 is the terminal, and the call takes no pointer.
        #[expect(unsafe_code, reason = "no library wraps this ioctl")]
        unsafe { take_terminal(libc::STDIN_FILENO, 0) }?;
        inherit_nothing_else();
        user.as_ref().map_or(Ok(()), User::take_on)?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: nothing is allocated, no lock is
    // taken.
    #[expect(unsafe_code, reason = "only here is there a process without its program")]
    unsafe {
        command.pre_exec(prepare);
    }
    command.spawn()
}

/// Whatever else this process has open ends with the exec. Our own descriptors do anyway; these are
/// what the exporter itself was started with.
fn inherit_nothing_else() {
    let first = libc::STDERR_FILENO + 1;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: it takes three numbers and closes nothing yet. Kernels before 5.11 refuse it, which
    // leaves things as they are.
    #[expect(unsafe_code, reason = "no library wraps this system call")]
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, flags);
    }
}
