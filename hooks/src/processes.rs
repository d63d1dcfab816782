//! Which processes belong to a run, and how they are ended.
//!
//! The exporter is a child subreaper: whatever a run leaves behind, however deep, becomes a child
//! of the exporter the moment its own parent dies. So only children are ever looked at, and a child
//! that has not been reaped keeps its process id: no signal can hit a stranger that inherited it.
//! Ending a tree takes as many rounds as it is deep, one for each generation that loses its parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::time::Instant;
use uuid::Uuid;

use crate::environment::RUN_VARIABLE;
use crate::outcome::Process;

/// What all runs of this process share, because its children are its children whoever started them.
static HOUSEHOLD: Mutex<Household> =
    Mutex::new(Household { runs: BTreeSet::new(), unclaimed: BTreeMap::new() });

/// How long an ended child may stay unreaped before it counts as nobody's. Whoever starts a child
/// directly waits for it and reaps it within milliseconds.
const UNCLAIMED_AFTER: Duration = Duration::from_secs(5);

struct Household {
    /// The runs whose processes are not all gone: an orphan without a mark is whose it must be when
    /// there is only one.
    runs: BTreeSet<Uuid>,
    /// Children that ended before anybody saw whose they were, by process id and birth, and when
    /// they were first seen.
    unclaimed: BTreeMap<(i32, u64), Instant>,
}

/// A run that is known to the household for as long as this lives. It has to be before its first
/// process is there: that one may be seen before it shows its mark.
#[derive(Debug)]
pub(crate) struct Membership(Uuid);

impl Membership {
    pub(crate) fn of(run: Uuid) -> Self {
        household().runs.insert(run);
        Self(run)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        household().runs.remove(&self.0);
    }
}

/// The processes of one run.
#[derive(Debug)]
pub(crate) struct Family {
    run: Membership,
    leader: Pid,
    /// When the leader started, in clock ticks after boot.
    born: u64,
    /// The members that were seen alive, and so can be reaped when they are not.
    seen: BTreeSet<i32>,
}

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    pid: i32,
    name: String,
    zombie: bool,
    parent: i32,
    session: i32,
    born: u64,
}

impl Family {
    /// The family of a leader that was just started.
    pub(crate) fn new(run: Membership, leader: Pid) -> Self {
        let born = stat(leader.as_raw()).map_or(0, |stat| stat.born);
        Self { run, leader, born, seen: BTreeSet::new() }
    }

    /// Reaps what has ended, except for the leader, and returns what lives: the leader, and those
    /// others whose parents are gone.
    pub(crate) fn living(&mut self) -> Vec<Process> {
        let mut living = Vec::new();
        for stat in children().into_iter().filter_map(stat) {
            // The leader stays a zombie until the end: it keeps the number of the group.
            if stat.zombie && stat.pid != self.leader.as_raw() {
                if stat.session == self.leader.as_raw() || self.seen.contains(&stat.pid) {
                    reap(Pid::from_raw(stat.pid));
                } else {
                    reap_if_unclaimed(&stat);
                }
            } else if !stat.zombie && self.includes(&stat) {
                self.seen.insert(stat.pid);
                living.push(Process { pid: stat.pid, name: stat.name });
            }
        }
        living
    }

    /// Sends a signal to the leader's process group, whether the leader itself lives or not.
    pub(crate) fn signal_leader(&self, signal: Signal) {
        send(self.leader, signal);
    }

    /// Sends a signal to the process groups of those members that are not the leader.
    pub(crate) fn signal_others(&self, members: &[Process], signal: Signal) {
        for member in members.iter().filter(|member| member.pid != self.leader.as_raw()) {
            send(Pid::from_raw(member.pid), signal);
        }
    }

    fn includes(&self, stat: &Stat) -> bool {
        if stat.session == self.leader.as_raw() {
            return true;
        }
        match mark(stat.pid) {
            Mark::Run(run) => run == self.run.0,
            // It has left the session and dropped the mark. If it can't be anybody else's, it is
            // ours; a process that has not reached its program yet is not an orphan at all.
            Mark::None => stat.born >= self.born && household().runs.len() == 1,
            Mark::Unknown => false,
        }
    }
}

impl Drop for Family {
    /// Nothing of a run outlives it, even if it is dropped half way.
    fn drop(&mut self) {
        let members = self.living();
        if !members.is_empty() {
            self.signal_leader(Signal::SIGKILL);
            self.signal_others(&members, Signal::SIGKILL);
        }
        reap(self.leader);
    }
}

fn household() -> MutexGuard<'static, Household> {
    HOUSEHOLD.lock().expect("nothing panics while it holds the household")
}

/// Signals a process's group, or the process alone if it leads none, and wakes what is stopped,
/// which would not see the signal otherwise.
fn send(pid: Pid, signal: Signal) {
    for signal in [signal, Signal::SIGCONT] {
        // An error means that it has gone in the meantime.
        killpg(pid, signal).or_else(|_| kill(pid, signal)).ok();
    }
}

/// Collects the status of a child that has ended, if it has.
fn reap(pid: Pid) {
    // An error means that it is no child any more.
    waitpid(pid, Some(WaitPidFlag::WNOHANG)).ok();
}

/// Reaps an ended child of unknown origin once it is clear that nobody else will.
fn reap_if_unclaimed(stat: &Stat) {
    let mut household = household();
    let (key, now) = ((stat.pid, stat.born), Instant::now());
    if now - *household.unclaimed.entry(key).or_insert(now) > UNCLAIMED_AFTER {
        household.unclaimed.remove(&key);
        reap(Pid::from_raw(stat.pid));
    }
    household.unclaimed.retain(|_, seen| now - *seen <= 2 * UNCLAIMED_AFTER);
}

/// What a process's environment says about the run that it belongs to.
enum Mark {
    Run(Uuid),
    None,
    /// It belongs to somebody else, or it can't be known.
    Unknown,
}

fn mark(pid: i32) -> Mark {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return Mark::Unknown };
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(RUN_VARIABLE.as_bytes())?.strip_prefix(b"="));
    match value {
        Some(value) => Uuid::try_parse_ascii(value).map_or(Mark::Unknown, Mark::Run),
        None if is_this_program(pid) => Mark::Unknown,
        None => Mark::None,
    }
}

/// Whether a child still runs this very program: it has been forked and is about to become another.
fn is_this_program(pid: i32) -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe"));
    match (program("self"), program(&pid.to_string())) {
        (Ok(own), Ok(other)) => own == other,
        _ => true,
    }
}

/// The ids of this process's children.
fn children() -> Vec<i32> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().flat_map(str::parse::<i32>)),
            // The thread has ended, or this kernel does not offer the list.
            Err(_) if !task.path().exists() => {}
            Err(_) => return children_by_search(),
        }
    }
    children
}

/// As [`children`], for a kernel without `CONFIG_PROC_CHILDREN`.
fn children_by_search() -> Vec<i32> {
    let own = Pid::this().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == own)).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `PID (NAME) STATE PPID PGRP SESSION ... STARTTIME ...`; see proc_pid_stat(5). The name
/// may contain anything, parentheses included.
fn parse_stat(line: &str) -> Option<Stat> {
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Stat {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: number(1)?,
        session: number(3)?,
        born: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_what_looks_like_the_next_field() {
        let line = "42 (a) Z 1 (b) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.pid, stat.name.as_str()), (42, "a) Z 1 (b"));
        assert_eq!((stat.parent, stat.session), (7, 9));
        assert!(!stat.zombie);
        assert_eq!(stat.born, 12345);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = stat(Pid::this().as_raw()).unwrap();
        assert_eq!(own.pid, Pid::this().as_raw());
        assert!(own.born > 0);
    }

    #[test]
    fn both_ways_to_find_children_agree() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children().contains(&pid));
        assert!(children_by_search().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
