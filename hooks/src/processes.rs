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
use nix::unistd::{Pid, getsid};
use tokio::time::Instant;
use uuid::Uuid;

use crate::environment::RUN_VARIABLE;
use crate::outcome::Process;

/// What all runs of this process share, because its children are its children whoever started them.
static HOUSEHOLD: Mutex<Household> =
    Mutex::new(Household { runs: BTreeMap::new(), unclaimed: BTreeMap::new() });

/// How long an ended child may stay unreaped before it counts as nobody's. Whoever starts a child
/// directly waits for it and reaps it within milliseconds.
const UNCLAIMED_AFTER: Duration = Duration::from_secs(5);

struct Household {
    /// The runs whose processes are not all gone, with their leaders: an orphan without a mark is
    /// whose it must be when there is only one, and a leader is reaped by its own run alone.
    runs: BTreeMap<Uuid, Option<i32>>,
    /// Children that ended before anybody saw whose they were, by process id and birth, and when
    /// they were first seen.
    unclaimed: BTreeMap<(i32, u64), Instant>,
}

/// The first process of a run that goes on in this process, once it has been started.
pub fn leader(run: Uuid) -> Option<i32> {
    household().runs.get(&run).copied().flatten()
}

/// A run that is known to the household for as long as this lives. It has to be before its first
/// process is there: that one may be seen before it shows its mark.
#[derive(Debug)]
pub(crate) struct Membership(Uuid);

impl Membership {
    pub(crate) fn of(run: Uuid) -> Self {
        household().runs.insert(run, None);
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
    /// The leader was seen to have ended.
    leader_has_ended: bool,
    /// The members that were seen alive, and so can be reaped when they are not.
    seen: BTreeSet<i32>,
}

/// What one look at the children has found.
#[derive(Debug, Default)]
struct Look {
    living: Vec<Process>,
    /// Something has ended that had not before, and may have handed on its own children to where the
    /// look had already been.
    is_stale: bool,
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
        household().runs.insert(run.0, Some(leader.as_raw()));
        let born = stat(leader.as_raw()).map_or(0, |stat| stat.born);
        Self { run, leader, born, leader_has_ended: false, seen: BTreeSet::new() }
    }

    /// Reaps what has ended, except for the leader, and returns what lives: the leader, and those
    /// others whose parents are gone. Where there is nothing, nothing is left.
    pub(crate) fn living(&mut self) -> Vec<Process> {
        until_certain(|| self.look())
    }

    fn look(&mut self) -> Look {
        let mut look = Look::default();
        for pid in children() {
            let Some(stat) = stat(pid) else {
                look.is_stale = true;
                continue;
            };
            if !stat.zombie {
                if self.includes(&stat) {
                    self.seen.insert(stat.pid);
                    look.living.push(Process { pid: stat.pid, name: stat.name });
                }
            } else if stat.pid == self.leader.as_raw() {
                // It stays a zombie until the end: it keeps the number of the group.
                look.is_stale |= !std::mem::replace(&mut self.leader_has_ended, true);
            } else if stat.session == self.leader.as_raw() || self.seen.contains(&stat.pid) {
                self.seen.remove(&stat.pid);
                reap(Pid::from_raw(stat.pid));
                look.is_stale = true;
            } else {
                look.is_stale |= is_new_and_unclaimed(&stat);
            }
        }
        look
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
        // Nobody gets back into the session that the script was started from; whatever is there was
        // started by others.
        if getsid(None).is_ok_and(|own| own.as_raw() == stat.session) {
            return false;
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

/// Looks until something lives, or it is certain that nothing does.
fn until_certain(mut look: impl FnMut() -> Look) -> Vec<Process> {
    loop {
        let found = look();
        if !found.is_stale || !found.living.is_empty() {
            return found.living;
        }
    }
}

/// Whether an ended child of unknown origin was never seen before. It is reaped once it is clear that
/// nobody else will.
fn is_new_and_unclaimed(stat: &Stat) -> bool {
    let mut household = household();
    if household.runs.values().any(|leader| *leader == Some(stat.pid)) {
        return false;
    }
    let (key, now) = ((stat.pid, stat.born), Instant::now());
    let first_seen = household.unclaimed.get(&key).copied();
    let is_due = first_seen.is_some_and(|seen| now - seen > UNCLAIMED_AFTER);
    if is_due {
        household.unclaimed.remove(&key);
        reap(Pid::from_raw(stat.pid));
    } else {
        household.unclaimed.entry(key).or_insert(now);
    }
    household.unclaimed.retain(|_, seen| now - *seen <= 2 * UNCLAIMED_AFTER);
    first_seen.is_none()
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
    fn nothing_is_left_only_if_nothing_has_ended_during_the_look() {
        let orphan = || vec![Process { pid: 7, name: "sleep".into() }];
        let mut looks = [
            Look { living: Vec::new(), is_stale: true },
            Look { living: orphan(), is_stale: true },
            Look { living: Vec::new(), is_stale: true },
            Look { living: Vec::new(), is_stale: false },
        ]
        .into_iter();
        assert_eq!(until_certain(|| looks.next().unwrap()), orphan());
        assert_eq!(until_certain(|| looks.next().unwrap()), []);
        assert!(looks.next().is_none());
    }

    #[tokio::test]
    async fn the_leader_of_another_run_is_left_to_that_run() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let leader = Pid::from_raw(i32::try_from(ended.id()).unwrap());
        let zombie = loop {
            match stat(leader.as_raw()).unwrap() {
                stat if stat.zombie => break stat,
                _ => tokio::task::yield_now().await,
            }
        };
        let other = Family::new(Membership::of(Uuid::new_v4()), leader);
        assert!(!is_new_and_unclaimed(&zombie));
        tokio::time::pause();
        tokio::time::advance(2 * UNCLAIMED_AFTER).await;
        assert!(!is_new_and_unclaimed(&zombie));
        assert_eq!(stat(leader.as_raw()), Some(zombie), "its status is still to be had");
        drop(other);
        // The run has reaped it.
        assert!(ended.try_wait().is_err());
    }

    #[test]
    fn what_was_started_beside_a_run_does_not_belong_to_it() {
        let run = Membership::of(Uuid::new_v4());
        // With all that an orphan without a mark has, but for its session.
        let mut beside = std::process::Command::new("sleep").arg("60").env_clear().spawn().unwrap();
        let pid = i32::try_from(beside.id()).unwrap();
        let family = Family::new(run, Pid::from_raw(i32::MAX));
        let is_included = family.includes(&stat(pid).unwrap());
        beside.kill().unwrap();
        beside.wait().unwrap();
        assert!(!is_included);
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
