//! The one task that owns the lease machine: turns what happens into events, and effects into work.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use hooks::Stop;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Lease;
use super::machine::{
    Effect, EndReason, Epoch, Event, Farewell, Fate, Machine, Parting, Phase, State,
};
use super::standing::{LINGER, Standing};
use super::status::Publisher;
use crate::lifecycle::{LeaseHooks, Turn};
use crate::session::Session;
use crate::session::bench::Bench;
use crate::shutdown::Shutdown;

/// How long a hook may take to die, and devices to close, when there is no time left. A process in
/// the middle of a transfer can't be killed before its device answers.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// What the rest of the exporter may ask of the lease. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LeaseHandle {
    end_session: Arc<Notify>,
}

impl LeaseHandle {
    /// The client has finished. Has no effect if there is nothing to finish.
    pub fn end_session(&self) {
        self.end_session.notify_one();
    }
}

/// Owns the machine and everything that a lease has open.
#[derive(Debug)]
pub struct Actor {
    machine: Machine,
    publisher: Publisher,
    assigner: Standing,
    bench: Arc<Bench>,
    hooks: LeaseHooks,
    handle: LeaseHandle,
    /// What the present lease's hooks need.
    session: Option<Arc<Session>>,
    /// Ends the hook that runs.
    hook_stop: Stop,
    /// Whether the machine has been told to stop.
    stopping: bool,
    /// The work of effects; each ends with what there is to tell the machine.
    work: JoinSet<Done>,
}

/// What the work of an effect has come to.
enum Done {
    Opened(Epoch, Result<Session, String>),
    Hook(Epoch, Phase, crate::lifecycle::Report),
    Closed(Epoch),
    Released(Epoch, Fate),
}

impl Actor {
    /// An actor without a lease. `handle` is the one that the bench has.
    pub fn new(
        bench: Arc<Bench>,
        publisher: Publisher,
        hooks: LeaseHooks,
        handle: LeaseHandle,
        exit_on_lease_end: bool,
    ) -> Self {
        Self {
            machine: Machine::new(hooks.plan(exit_on_lease_end), 0),
            assigner: Standing::new(bench.status.clone()),
            publisher,
            bench,
            hooks,
            handle,
            session: None,
            hook_stop: Stop::default(),
            stopping: false,
            work: JoinSet::new(),
        }
    }

    /// Serves leases until it is told to stop, and the last one is over; returns the exit code.
    pub async fn run(mut self, shutdown: &Shutdown) -> u8 {
        loop {
            let next = self.next_event(&shutdown.drain);
            let Some(event) = shutdown.abort.run_until_cancelled(next).await else {
                self.abort().await;
                return 1;
            };
            if let Some(code) = self.take(event) {
                // Who waits for the last word gets the chance to hear it.
                timeout(LINGER, self.bench.status.seen_by_all()).await.ok();
                return code;
            }
        }
    }

    /// Gives up everything at once: a hook that runs is killed, devices are closed.
    async fn abort(mut self) {
        self.publisher.end_period();
        self.hook_stop.killed.cancel();
        let hook_is_gone = async { while self.work.join_next().await.is_some() {} };
        timeout(LAST_MOMENT, hook_is_gone).await.ok();
        timeout(LAST_MOMENT, self.bench.tree().close()).await.ok();
    }

    async fn next_event(&mut self, drain: &CancellationToken) -> Event {
        let is_idle = matches!(self.machine.state(), State::Idle);
        tokio::select! {
            // Work that is done comes first: a stop must not overtake the end of a hook.
            biased;
            Some(done) = self.work.join_next() => match done {
                Ok(done) => self.absorb(done),
                Err(error) => resume_unwind(error.into_panic()),
            },
            () = drain.cancelled(), if !self.stopping => {
                self.stopping = true;
                Event::Stop(Farewell::Stop)
            }
            () = self.handle.end_session.notified() => Event::Ended(EndReason::Released),
            lease = self.assigner.next(), if is_idle && !self.stopping => Event::Assigned(lease),
        }
    }

    /// Keeps what finished work has brought, and says what it means for the lease.
    fn absorb(&mut self, done: Done) -> Event {
        match done {
            Done::Opened(epoch, Ok(session)) => {
                self.session = Some(Arc::new(session));
                Event::Opened(epoch)
            }
            Done::Opened(epoch, Err(reason)) => Event::OpenFailed(epoch, reason),
            Done::Hook(epoch, phase, report) => {
                if let Some(motd) = report.motd {
                    self.bench.set_motd(Some(&motd));
                }
                Event::HookDone(epoch, phase, report.verdict)
            }
            Done::Closed(epoch) => Event::Closed(epoch),
            Done::Released(epoch, fate) => {
                self.assigner.released(fate);
                Event::Released(epoch)
            }
        }
    }

    /// Feeds the machine and starts the work of its effects; returns the exit code at the end.
    fn take(&mut self, event: Event) -> Option<u8> {
        let text = format!("{event:?}");
        let effects = self.machine.on(event);
        tracing::debug!(event = text, state = ?self.machine.state(), ?effects, "lease");
        effects.into_iter().filter_map(|effect| self.perform(effect)).last()
    }

    fn perform(&mut self, effect: Effect) -> Option<u8> {
        match effect {
            Effect::OpenSession(epoch, lease) => self.open(epoch, lease),
            Effect::RunBefore(epoch) => self.run_hook(epoch, Turn::Before),
            Effect::RunAfter(epoch, Parting { reason, prepared, .. }) => {
                self.run_hook(epoch, Turn::After { reason, prepared });
            }
            Effect::ShowFailure(_) | Effect::Maintain(..) | Effect::ScheduleRepair => todo!(),
            Effect::CancelHook => self.hook_stop.asked.cancel(),
            Effect::Publish(status, message) => {
                tracing::info!(%status, "{status}: {message}");
                self.publisher.publish(status, message);
            }
            Effect::CloseDevices(epoch) => {
                // First nobody may call any more, then the devices go.
                self.publisher.end_period();
                let bench = Arc::clone(&self.bench);
                self.spawn(async move {
                    bench.tree().close().await;
                    Done::Closed(epoch)
                });
            }
            Effect::ReleaseLease(epoch, _, fate) => self.release(epoch, fate),
            Effect::CloseSession => self.session = None,
            Effect::Exit(code) => return Some(code),
        }
        None
    }

    fn open(&mut self, epoch: Epoch, lease: Lease) {
        self.bench.log.begin_lease();
        self.bench.set_motd(None);
        let bench = Arc::clone(&self.bench);
        let has_hooks = self.hooks.exist();
        self.spawn(
            async move { Done::Opened(epoch, Session::open(bench, lease, has_hooks).await) },
        );
    }

    fn run_hook(&mut self, epoch: Epoch, turn: Turn) {
        let Some(session) = self.session.clone() else { return };
        self.hook_stop = Stop::default();
        let (hooks, log) = (self.hooks.clone(), self.bench.log.clone());
        let stop = self.hook_stop.clone();
        self.spawn(async move {
            Done::Hook(epoch, turn.phase(), hooks.run(turn, session.scene(), &log, &stop).await)
        });
    }

    fn release(&mut self, epoch: Epoch, fate: Fate) {
        // A failure is shown for as long as somebody who follows the status has not seen it.
        let linger = self.publisher.status().is_failure();
        let status = self.bench.status.clone();
        self.spawn(async move {
            if linger {
                timeout(LINGER, status.seen_by_all()).await.ok();
            }
            Done::Released(epoch, fate)
        });
    }

    fn spawn(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.work.spawn(work.in_current_span());
    }
}
