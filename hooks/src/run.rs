//! One run of a script, from its start to the end of its last process.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::command::Invocation;
use crate::environment::{Environment, RUN_VARIABLE};
use crate::lines::Lines;
use crate::outcome::{Ending, Outcome, Process, StartError};
use crate::processes::{Family, Membership};
use crate::pty::{self, Output};
use crate::user::User;

/// How long an unfinished line waits for its end before it is passed on as it is.
const PARTIAL_LINE: Duration = Duration::from_millis(100);

/// How long SIGKILL may take. A process in the middle of a transfer can't be ended before the
/// device answers or the kernel gives up on it.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How long to listen for more output where a survivor keeps the terminal open.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Ends a run from outside, in two degrees of urgency. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Its processes are asked to end, and get their grace.
    pub asked: CancellationToken,
    /// They are killed.
    pub killed: CancellationToken,
}

/// A script that is ready to run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Marks all processes of this run, so that they can be found again even after a crash.
    pub id: Uuid,
    /// The command.
    pub invocation: Invocation,
    /// Its whole environment, apart from the mark.
    pub environment: Environment,
    /// The directory that it runs in.
    pub workdir: PathBuf,
    /// Whose rights it has; none for this process's own.
    pub user: Option<User>,
    /// How long it may run.
    pub limit: Duration,
    /// How long its processes have between SIGTERM and SIGKILL.
    pub grace: Duration,
}

impl Run {
    /// Runs the script, and hands each line that it writes to `sink` as it is written.
    ///
    /// Returns when the script and everything that it started are gone. Dropping the future kills
    /// them, too.
    pub async fn run(&self, sink: &mut (dyn FnMut(String) + Send), stop: &Stop) -> Outcome {
        let started_at = Instant::now();
        let mut environment = self.environment.clone();
        environment.set(RUN_VARIABLE, self.id.to_string());
        let run = Membership::of(self.id);
        // The stream comes before the process, so that no end goes unnoticed.
        let started =
            watch_children().and_then(|children| Ok((children, self.start(&environment)?)));
        let (children, started) = match started {
            Ok(started) => started,
            Err(error) => return Outcome::not_started(error),
        };
        let mut leader = Leader::new(run, started.leader, children);
        let mut pump = Pump { output: started.output, lines: Lines::default(), sink };

        let supervise = async {
            let ending = leader.ending(self.limit, stop).await;
            let cleared = leader.clear(self.grace, stop).await;
            (ending, cleared)
        };
        let (ending, cleared) = tokio::select! {
            end = supervise => end,
            never = pump.run() => match never {},
        };
        timeout(DRAIN_LIMIT, pump.drain()).await.ok();
        Outcome {
            ending,
            duration: started_at.elapsed(),
            leftovers: cleared.leftovers,
            survivors: cleared.survivors,
        }
    }
}

impl Run {
    fn start(&self, environment: &Environment) -> Result<pty::Started, StartError> {
        pty::start(&self.invocation, environment, &self.workdir, self.user.as_ref())
    }
}

/// Makes orphans of this process's descendants its children, and reports when any child ends.
fn watch_children() -> Result<SignalStream, StartError> {
    let failed = |error: &dyn std::fmt::Display| {
        StartError::System(format!("can't watch child processes: {error}"))
    };
    prctl::set_child_subreaper(true).map_err(|error| failed(&error))?;
    signal(SignalKind::child()).map_err(|error| failed(&error))
}

/// The first process of a run, and through it all others.
struct Leader {
    pid: Pid,
    family: Family,
    children: SignalStream,
}

/// What clearing a run has found.
struct Cleared {
    leftovers: Vec<Process>,
    survivors: Vec<Process>,
}

impl Leader {
    fn new(run: Membership, pid: Pid, children: SignalStream) -> Self {
        Self { pid, family: Family::new(run, pid), children }
    }

    /// Waits for the script to end, for its time limit, or for the run to be cancelled.
    async fn ending(&mut self, limit: Duration, stop: &Stop) -> Ending {
        let limit = sleep(limit);
        tokio::pin!(limit);
        loop {
            if let Some(ending) = self.exit_status() {
                return ending;
            }
            tokio::select! {
                _ = self.children.recv() => {}
                () = &mut limit => return Ending::TimedOut,
                () = stop.asked.cancelled() => return Ending::Cancelled,
                () = stop.killed.cancelled() => return Ending::Cancelled,
            }
        }
    }

    /// How the script ended, if it has. It is not reaped: its id stays its own.
    fn exit_status(&self) -> Option<Ending> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let leader = rustix::process::Pid::from_raw(self.pid.as_raw())?;
        // Not by `nix`, to which an end by a real-time signal is an error.
        let status = waitid(WaitId::Pid(leader), options).ok()??;
        let exited = status.exit_status().map(Ending::Exited);
        exited.or_else(|| status.terminating_signal().map(Ending::Signaled))
    }

    /// Ends every process of the run: SIGTERM, then after `grace` SIGKILL.
    async fn clear(&mut self, grace: Duration, stop: &Stop) -> Cleared {
        let leftovers = self.family.living();
        let asked = stop.killed.run_until_cancelled(self.end_all(Signal::SIGTERM, grace)).await;
        let survivors = match asked {
            Some(stubborn) if stubborn.is_empty() => stubborn,
            Some(_) | None => self.end_all(Signal::SIGKILL, KILL_LIMIT).await,
        };
        Cleared { leftovers, survivors }
    }

    /// Signals the members of the run as they come up, until there are none or `limit` is over;
    /// returns those that are left.
    async fn end_all(&mut self, with: Signal, limit: Duration) -> Vec<Process> {
        let until = Instant::now() + limit;
        let mut living = self.family.living();
        if !living.is_empty() {
            self.family.signal_leader(with);
        }
        let mut signalled = Vec::new();
        while !living.is_empty() {
            living.retain(|member| !signalled.contains(member));
            self.family.signal_others(&living, with);
            signalled.append(&mut living);
            // A child that ends hands its own children to us.
            let in_time = timeout_at(until, self.children.recv()).await.is_ok();
            living = self.family.living();
            if !in_time {
                break;
            }
        }
        living
    }
}

/// Carries what a script writes to the sink.
struct Pump<'a> {
    output: Output,
    lines: Lines,
    sink: &'a mut (dyn FnMut(String) + Send),
}

impl Pump<'_> {
    /// Passes lines on for as long as it is polled.
    async fn run(&mut self) -> std::convert::Infallible {
        self.drain().await;
        // The script has closed its terminal; there is nothing more to hear.
        std::future::pending().await
    }

    /// Passes lines on until the last process has closed the terminal.
    async fn drain(&mut self) {
        let mut buffer = vec![0; 16 * 1024];
        let mut flush_at = Instant::now();
        loop {
            let read = tokio::select! {
                // What is there comes before what may be flushed.
                biased;
                read = self.output.read(&mut buffer) => read,
                () = sleep_until(flush_at), if self.lines.has_partial() => {
                    self.lines.flush(self.sink);
                    // The rest of a character may still be on its way.
                    flush_at += PARTIAL_LINE;
                    continue;
                }
            };
            match read {
                Ok(0) => break,
                Ok(length) => self.lines.push(&buffer[..length], self.sink),
                Err(error) => {
                    tracing::warn!("the output of a hook is lost: {error}");
                    break;
                }
            }
            flush_at = Instant::now() + PARTIAL_LINE;
        }
        self.lines.finish(self.sink);
    }
}
