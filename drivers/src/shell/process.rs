//! Which processes belong to a script, and how they are ended.
//!
//! A process belongs to a run if it is in the session of the script, or if it was started with the
//! run's mark in its environment, wherever it has gone since. A process that has left the session
//! and dropped the mark is out of reach.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{Result, blocking};

/// The environment variable that marks the processes of a run with its id.
pub(super) const MARK: &str = "HILT_RUN";

/// How long a process may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long the kernel may take to end a process that is killed, before it is given up.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How long looking through all processes may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// How soon to look again whether processes have ended, and how long at most between two looks: the
/// kernel tells only of one's own children.
const LOOK_SOON: Duration = Duration::from_millis(5);
const LOOK_LATER: Duration = Duration::from_millis(100);

/// The processes of one run or of several.
#[derive(Debug, Clone)]
pub(super) struct Family {
    ids: HashSet<Uuid>,
    /// The process that leads the session, if it hasn't been reaped: then nobody else has its id.
    leader: Option<Pid>,
}

/// A process. The time of its start, in clock ticks after boot, tells it from a later one that has
/// the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    id: Pid,
    born: u64,
}

impl Family {
    /// The processes of one run that is going on.
    pub(super) fn of(run: Uuid, leader: Pid) -> Self {
        Self { ids: HashSet::from([run]), leader: Some(leader) }
    }

    /// What several runs that are over have left behind.
    pub(super) fn left_behind(runs: impl IntoIterator<Item = Uuid>) -> Self {
        Self { ids: runs.into_iter().collect(), leader: None }
    }

    /// Asks every process to end, kills those that don't, and returns when they are gone.
    pub(super) async fn end(&self) {
        let start = Instant::now();
        let mut told = HashSet::new();
        let mut pause = LOOK_SOON;
        loop {
            let living = match self.living().await {
                Ok(living) => living,
                Err(error) => {
                    tracing::error!("the processes of a script can't be found: {error}");
                    return;
                }
            };
            if living.is_empty() {
                break;
            }
            if start.elapsed() > GRACE + KILL_LIMIT {
                tracing::error!("processes of a script can't be killed: {living:?}");
                break;
            }
            for process in living {
                let news = told.insert(process);
                if start.elapsed() >= GRACE {
                    send(process, Signal::SIGKILL);
                } else if news {
                    send(process, Signal::SIGTERM);
                    // A stopped process sees the signal only when it goes on.
                    send(process, Signal::SIGCONT);
                }
            }
            sleep(pause).await;
            pause = LOOK_LATER.min(pause * 2);
        }
        for process in told {
            self.reap(process);
        }
    }

    async fn living(&self) -> Result<Vec<Process>> {
        let family = self.clone();
        blocking::run("look for the processes of a script", LOOK_LIMIT, move || {
            Ok(processes().filter(|stat| family.includes(stat)).map(|stat| stat.process).collect())
        })
        .await
    }

    fn includes(&self, stat: &Stat) -> bool {
        !stat.ended
            && (Some(stat.session) == self.leader
                || mark(stat.process.id).is_some_and(|mark| self.ids.contains(&mark)))
    }

    /// Reaps a process that has ended, in case it became a child of this one when it lost its
    /// parent. The leader is reaped by whoever waits for it.
    fn reap(&self, process: Process) {
        let ended = stat(process.id).is_some_and(|stat| stat.ended && stat.process == process);
        if ended && Some(process.id) != self.leader {
            // An error means that it is somebody else's child.
            waitpid(process.id, Some(WaitPidFlag::WNOHANG)).ok();
        }
    }
}

/// Sends a signal to a process that was just seen; an error means that it has gone since.
fn send(process: Process, signal: Signal) {
    kill(process.id, signal).ok();
}

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    process: Process,
    /// A zombie: it has ended, but was not reaped.
    ended: bool,
    session: Pid,
}

/// Every process of the host.
fn processes() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id| stat(Pid::from_raw(id)))
}

fn stat(id: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// Reads `PID (NAME) STATE PARENT GROUP SESSION ... BORN ...`, where the name may hold anything.
fn parse_stat(line: &str) -> Option<Stat> {
    let id = line.split(' ').next()?.parse().ok()?;
    let fields: Vec<_> = line.rsplit_once(") ")?.1.split(' ').collect();
    Some(Stat {
        process: Process { id: Pid::from_raw(id), born: fields.get(19)?.parse().ok()? },
        ended: matches!(*fields.first()?, "Z" | "X"),
        session: Pid::from_raw(fields.get(3)?.parse().ok()?),
    })
}

/// The id of the run that a process was started in.
fn mark(process: Pid) -> Option<Uuid> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Uuid::try_parse_ascii(value).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_anything() {
        let line = "42 (a) Z 1 2) S 1 40 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                process: Process { id: Pid::from_raw(42), born: 777 },
                ended: false,
                session: Pid::from_raw(41),
            })
        );
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = Pid::this();
        let found = processes().find(|stat| stat.process.id == own).unwrap();
        assert!(!found.ended);
        assert_eq!(found.session, nix::unistd::getsid(None).unwrap());
        assert_eq!(mark(own), None);
    }
}
