//! Processes that a crashed process has left behind, found by a mark in their environment.
//!
//! A living exporter ends its hooks' processes by descent; see `processes`. One that was killed can't,
//! and its orphans belong to somebody else by the time it is started again. So everything that the
//! exporter starts inherits a mark, which is kept where the next process can read it. A process that
//! has cleared its environment can't be found in this way.

use std::env;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::outcome::Process;

/// The environment variable with the mark.
pub const VARIABLE: &str = "HILT_PROCESS";

/// How long a killed process may take to go: one in the middle of a transfer can't, before its
/// device has answered.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Longer than the kernel takes to put one program in the place of another.
const EXEC: Duration = Duration::from_millis(2);

/// Marks whatever this process starts from now on, and returns the mark.
///
/// # Safety
///
/// No other thread may run yet: the environment is changed.
#[expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "there is no other way to reach the children that drivers and libraries start"
)]
pub unsafe fn mark_descendants() -> Uuid {
    let mark = Uuid::new_v4();
    // SAFETY: the caller promises that no other thread can read the environment meanwhile.
    unsafe { env::set_var(VARIABLE, mark.to_string()) };
    mark
}

/// The mark of what this process starts, if there is one.
pub fn mark() -> Option<Uuid> {
    Uuid::parse_str(env::var_os(VARIABLE)?.to_str()?).ok()
}

/// Ends every process that has this mark: asked to, and after `grace` made to, with all that they
/// have started meanwhile. Returns those that were there, and whether they are gone.
pub async fn end(mark: Uuid, grace: Duration) -> Vec<(Process, Gone)> {
    let mut found = marked(mark);
    let mut seen: Vec<Process> = Vec::new();
    for (process, pidfd) in &found {
        signal(pidfd, &[Signal::TERM, Signal::CONT]);
        seen.push(process.clone());
    }
    all_gone(&found, Instant::now() + grace).await;
    let deadline = Instant::now() + LAST_MOMENT;
    loop {
        found = marked(mark);
        if found.is_empty() {
            // One that is just becoming another program has no environment for a moment.
            sleep(EXEC).await;
            found = marked(mark);
        }
        if found.is_empty() || Instant::now() >= deadline {
            break;
        }
        for (process, pidfd) in &found {
            signal(pidfd, &[Signal::KILL]);
            if !seen.contains(process) {
                seen.push(process.clone());
            }
        }
        all_gone(&found, deadline).await;
        // Where the system has no more handles to give, nothing was waited for.
        yield_now().await;
    }
    let is_left = |process: &Process| found.iter().any(|(left, _)| left.pid == process.pid);
    let judged = seen.into_iter().map(|process| {
        let gone = if is_left(&process) { Gone::No } else { Gone::Yes };
        (process, gone)
    });
    judged.collect()
}

/// Whether a process could be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It is gone.
    Yes,
    /// It can't be killed now; it may wait for a device.
    No,
}

/// The processes with a mark, each with a handle that never means another process.
fn marked(mark: Uuid) -> Vec<(Process, OwnedFd)> {
    let variable = format!("{VARIABLE}={mark}");
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        if !has(pid, &variable) {
            return None;
        }
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Only now is it certain whose number this is.
        has(pid, &variable).then(|| (Process { pid, name: name(pid) }, pidfd))
    })
    .collect()
}

fn has(pid: i32, variable: &str) -> bool {
    // This process has the mark of its own starter, if any; it must not end itself.
    i64::from(pid) != i64::from(std::process::id())
        && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        })
}

fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

fn signal(pidfd: &OwnedFd, signals: &[Signal]) {
    for signal in signals {
        // An error means that it has gone in the meantime.
        pidfd_send_signal(pidfd, *signal).ok();
    }
}

/// Waits for the end of these processes.
async fn all_gone(processes: &[(Process, OwnedFd)], deadline: Instant) {
    for (_, pidfd) in processes {
        let Ok(pidfd) = pidfd.try_clone() else { return };
        #[expect(unsafe_code, reason = "the safe constructors are deprecated for being no safer")]
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        let Ok(pidfd) = registered else { return };
        if timeout_at(deadline, pidfd.readable()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(mark: Uuid, script: &str) -> Child {
        let command = format!("{script} sleep 60 & echo; wait");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).env(VARIABLE, mark.to_string());
        let mut child = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        // Its line says that the sleep is there, and what the script begins with is done.
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        child
    }

    #[tokio::test]
    async fn what_has_the_mark_is_ended_however_stubborn_and_nothing_else() {
        let (mark, other) = (Uuid::new_v4(), Uuid::new_v4());
        let mut polite = sleeper(mark, "");
        let mut stubborn = sleeper(mark, "trap '' TERM;");
        let mut stranger = sleeper(other, "");
        let ended = end(mark, Duration::from_millis(50)).await;
        let pids: Vec<_> = ended.iter().map(|(process, _)| process.pid).collect();
        assert!(ended.iter().all(|(_, gone)| *gone == Gone::Yes), "{ended:?}");
        for child in [&mut polite, &mut stubborn] {
            assert!(pids.contains(&i32::try_from(child.id()).unwrap()));
            assert!(!child.wait().unwrap().success());
        }
        // Each shell and its sleep.
        assert_eq!(pids.len(), 4);
        assert!(stranger.try_wait().unwrap().is_none());
        assert_eq!(end(mark, Duration::ZERO).await, []);
        end(other, Duration::ZERO).await;
        stranger.wait().unwrap();
    }
}
