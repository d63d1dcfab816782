//! The one task that owns the lease machine: turns what happens into events, and effects into work.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use hooks::Stop;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use super::Lease;
use super::assigner::Assigner;
use super::ledger::Ledger;
use super::machine::{
    Changes, Effect, EndReason, Epoch, Event, Farewell, Fate, Machine, Parting, Phase, State, Task,
};
use super::standing::LINGER;
use super::status::Publisher;
use crate::activity::Doing;
use crate::lifecycle::{Lifecycle, Report, Turn};
use crate::service_manager;
use crate::session::Session;
use crate::session::bench::Bench;
use crate::session::marks;
use crate::shutdown::Shutdown;
use crate::store::{RunBegun, RunEnded, Write};

/// How long a hook may take to die, and devices to close, when there is no time left. A process in
/// the middle of a transfer can't be killed before its device answers.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// What the rest of the exporter may ask of the lease. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LeaseHandle {
    end_session: Arc<Notify>,
    reinstate: Arc<Notify>,
}

impl LeaseHandle {
    /// The client has finished. Has no effect if there is nothing to finish.
    pub fn end_session(&self) {
        self.end_session.notify_one();
    }

    /// The bench is good again. Has no effect if it is not in quarantine.
    pub fn reinstate(&self) {
        self.reinstate.notify_one();
    }
}

/// Owns the machine and everything that a lease has open.
#[derive(Debug)]
pub struct Actor {
    machine: Machine,
    /// What a restart would know.
    ledger: Ledger,
    publisher: Publisher,
    assigner: Assigner,
    bench: Arc<Bench>,
    lifecycle: Lifecycle,
    handle: LeaseHandle,
    /// What the present lease's hooks need.
    session: Option<Arc<Session>>,
    /// Ends the hook that runs.
    hook_stop: Stop,
    /// The run that begins with the next effects.
    begun: Option<RunBegun>,
    /// The end of a run that is not durable yet.
    ended: Option<RunEnded>,
    /// How the machine has been told to go.
    leaving: Option<Farewell>,
    /// What the machine waits for.
    stage: (&'static str, Doing),
    /// When to try to repair the bench.
    repair_at: Option<Instant>,
    /// The work of effects; each ends with what there is to tell the machine.
    work: JoinSet<Done>,
}

/// What the work of an effect has come to.
enum Done {
    Opened(Epoch, Result<Session, String>),
    Hook(Epoch, Phase, Report),
    Shown(Epoch),
    Closed(Epoch),
    Released(Epoch, Fate),
    Maintained(Epoch, Result<(), String>),
}

/// What an actor is made of.
#[derive(Debug)]
pub struct Parts {
    /// The devices, and how clients reach them.
    pub bench: Arc<Bench>,
    /// Where its status is shown.
    pub publisher: Publisher,
    /// Its hooks.
    pub lifecycle: Lifecycle,
    /// The one that the bench has.
    pub handle: LeaseHandle,
    /// What an earlier process has left to do, and where that is kept.
    pub ledger: Ledger,
    /// Who gives it leases.
    pub assigner: Assigner,
}

impl Actor {
    /// An actor that goes on where an earlier process was. Nothing happens before it runs.
    pub fn new(parts: Parts) -> Self {
        let Parts { bench, publisher, lifecycle, handle, ledger, assigner } = parts;
        let machine = Machine::new(lifecycle.plan(), 0);
        let waits = "its start";
        let stage =
            (waits, bench.activity.begin(move || format!("lease machine: waits for {waits}")));
        Self {
            machine,
            stage,
            assigner,
            ledger,
            publisher,
            bench,
            lifecycle,
            handle,
            session: None,
            hook_stop: Stop::default(),
            begun: None,
            ended: None,
            leaving: None,
            repair_at: None,
            work: JoinSet::new(),
        }
    }

    /// Serves leases until it is told to stop, and the last one is over; returns the exit code.
    pub async fn run(mut self, shutdown: &Shutdown) -> u8 {
        self.ledger.end_leftovers().await;
        self.install_quietly().await;
        let (plan, changes) = (self.lifecycle.plan(), self.lifecycle.changes());
        let (machine, effects) = Machine::restored(plan, self.ledger.journal(), changes);
        self.machine = machine;
        self.show_stage();
        self.settle(effects).await;
        loop {
            let next = self.next_event(shutdown);
            let Some(event) = shutdown.abort.run_until_cancelled(next).await else {
                self.abort().await;
                return 1;
            };
            if let Some(code) = self.take(event).await {
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
        let hook_is_gone = async {
            while let Some(done) = self.work.join_next().await {
                if let Ok(Done::Hook(_, _, Report { ended: Some(ended), .. })) = done {
                    self.ledger.keep(None, vec![Write::RunEnded(ended)]).await;
                }
            }
        };
        timeout(LAST_MOMENT, hook_is_gone).await.ok();
        timeout(LAST_MOMENT, self.bench.tree().close()).await.ok();
    }

    async fn next_event(&mut self, shutdown: &Shutdown) -> Event {
        let wants_lease = match self.machine.state() {
            State::Idle => self.leaving.is_none(),
            State::Quarantined(_) => self.assigner.waits_for_nobody(),
            State::Opening(..)
            | State::BeforeHook(..)
            | State::Ready(_)
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Maintaining(..)
            | State::Stopped => false,
        };
        let tenant = self.machine.tenant().cloned();
        let lease_changed = async {
            match &tenant {
                Some(lease) => self.assigner.changed(lease).await,
                None => std::future::pending().await,
            }
        };
        let repair_at = self.repair_at;
        let repair_is_due = async {
            match repair_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Work that is done comes first: a stop must not overtake the end of a hook.
            biased;
            Some(done) = self.work.join_next() => match done {
                Ok(done) => self.absorb(done),
                Err(error) => resume_unwind(error.into_panic()),
            },
            () = shutdown.down.cancelled(), if self.leaving < Some(Farewell::Down) => {
                self.leave(Farewell::Down, shutdown)
            }
            () = shutdown.drain.cancelled(), if self.leaving < Some(Farewell::Stop) => {
                self.leave(Farewell::Stop, shutdown)
            }
            () = self.handle.end_session.notified() => Event::Ended(EndReason::Released),
            () = self.handle.reinstate.notified() => Event::Reinstated,
            changes = self.lifecycle.reconfigured() => Event::Changed(changes),
            // The standing lease is there all the time; without a client, the bench is idle.
            () = self.assigner.deserted(), if self.machine.holds_up_changes() => {
                Event::Ended(EndReason::Released)
            }
            () = repair_is_due => {
                self.repair_at = None;
                Event::RepairDue
            }
            event = lease_changed => event,
            lease = self.assigner.next(), if wants_lease => Event::Assigned(lease),
        }
    }

    fn leave(&mut self, farewell: Farewell, shutdown: &Shutdown) -> Event {
        // A standing lease that nobody uses is no lease to be preempted: it ends, and then the
        // exporter stops, or goes, without one.
        if matches!(self.machine.state(), State::Ready(_)) && self.assigner.is_deserted() {
            return Event::Ended(EndReason::ExporterStopping);
        }
        self.leaving = Some(farewell);
        // To the service manager, a process that stops has to be gone in time.
        if shutdown.ends_the_process() {
            service_manager::stopping(self.lifecycle.departure());
        }
        Event::Stop(farewell)
    }

    /// Keeps what finished work has brought, and says what it means for the lease.
    fn absorb(&mut self, done: Done) -> Event {
        match done {
            Done::Opened(epoch, Ok(session)) => {
                let client = self.machine.tenant().map(|lease| lease.client.clone());
                // It may have got another while the devices were opened.
                let session = client.map(|client| session.handed_to(client)).unwrap_or(session);
                self.session = Some(Arc::new(session));
                Event::Opened(epoch)
            }
            Done::Opened(epoch, Err(reason)) => Event::OpenFailed(epoch, reason),
            Done::Hook(epoch, phase, report) => {
                self.ended = report.ended;
                if report.motd.is_some() {
                    self.bench.set_motd(report.motd);
                }
                Event::HookDone(epoch, phase, report.verdict)
            }
            Done::Shown(epoch) => Event::Shown(epoch),
            Done::Closed(epoch) => Event::Closed(epoch),
            Done::Released(epoch, fate) => {
                self.assigner.released(fate);
                Event::Released(epoch)
            }
            Done::Maintained(epoch, result) => {
                self.machine.follow(self.lifecycle.plan());
                Event::Maintained(epoch, result)
            }
        }
    }

    /// Feeds the machine and starts the work of its effects; returns the exit code at the end.
    async fn take(&mut self, event: Event) -> Option<u8> {
        let text = format!("{event:?}");
        let effects = self.machine.on(event);
        self.show_stage();
        tracing::debug!(event = text, state = ?self.machine.state(), ?effects, "lease");
        self.settle(effects).await
    }

    /// Shows what the machine waits for, if that is something else now.
    fn show_stage(&mut self) {
        let waits = self.machine.state().waits_for();
        if self.stage.0 != waits {
            self.stage.0 = waits;
            self.stage.1.becomes(move || format!("lease machine: waits for {waits}"));
        }
    }

    /// Writes down what has changed, and only then lets anybody see it.
    async fn settle(&mut self, effects: Vec<Effect>) -> Option<u8> {
        self.begun = self.begun(&effects);
        let ended = self.ended.take().map(Write::RunEnded);
        let runs = ended.into_iter().chain(self.begun.clone().map(Write::RunBegun)).collect();
        self.ledger.keep(self.machine.journal(), runs).await;
        effects.into_iter().filter_map(|effect| self.perform(effect)).last()
    }

    /// The beginning of the run that effects ask for, if it begins at once.
    fn begun(&self, effects: &[Effect]) -> Option<RunBegun> {
        let session = self.session.as_ref()?;
        let turn = effects.iter().find_map(|effect| match effect {
            Effect::RunBefore(_) => Some(Turn::Before),
            // The exporter's own hooks come first.
            Effect::RunAfter(_, Parting { preemption: true, .. }) => None,
            Effect::RunAfter(_, parting) => Some(Turn::after(*parting)),
            Effect::OpenSession(..)
            | Effect::HandOver(_)
            | Effect::CancelHook
            | Effect::Publish(..)
            | Effect::ShowFailure(_)
            | Effect::CloseDevices(_)
            | Effect::ReleaseLease(..)
            | Effect::CloseSession
            | Effect::Maintain(..)
            | Effect::ScheduleRepair
            | Effect::Exit(_) => None,
        })?;
        match self.ledger.recorded(turn.phase()) {
            Some(_) => None,
            None => self.lifecycle.begun(turn, session),
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<u8> {
        match effect {
            Effect::OpenSession(epoch, lease) => self.open(epoch, lease),
            Effect::HandOver(client) => {
                tracing::info!("the lease has got another client: {client}");
                self.bench.log.hand_over(&client);
                self.session = self.session.take().map(|it| Arc::new(it.handed_to(client)));
            }
            Effect::RunBefore(epoch) => self.run_hook(epoch, Turn::Before, false),
            Effect::RunAfter(epoch, parting) => {
                self.run_hook(epoch, Turn::after(parting), parting.preemption);
            }
            Effect::CancelHook => self.hook_stop.asked.cancel(),
            Effect::Publish(status, message) => {
                tracing::info!(%status, "{status}: {message}");
                self.publisher.publish(status, message);
            }
            Effect::ShowFailure(epoch) => {
                let status = self.bench.status.clone();
                self.spawn(async move {
                    timeout(LINGER, status.seen_by_all()).await.ok();
                    Done::Shown(epoch)
                });
            }
            Effect::CloseDevices(epoch) => {
                // First nobody may call any more, then the devices go.
                self.publisher.end_period();
                let bench = Arc::clone(&self.bench);
                self.spawn(async move {
                    bench.tree().close().await;
                    bench.mark(&marks::of_nobody());
                    Done::Closed(epoch)
                });
            }
            Effect::ReleaseLease(epoch, lease, fate) => self.release(epoch, &lease, fate),
            Effect::CloseSession => {
                self.session = None;
                self.bench.log.end_lease();
                self.assigner.closed();
            }
            Effect::Maintain(epoch, task) => self.maintain(epoch, task),
            Effect::ScheduleRepair => {
                self.repair_at = self.lifecycle.repair_interval().map(|wait| Instant::now() + wait);
            }
            Effect::Exit(code) => return Some(code),
        }
        None
    }

    fn open(&mut self, epoch: Epoch, lease: Lease) {
        self.bench.log.begin_lease(&lease);
        self.bench.set_motd(None);
        self.assigner.opened(&lease);
        let bench = Arc::clone(&self.bench);
        let has_hooks = self.lifecycle.has_lease_hooks();
        self.spawn(
            async move { Done::Opened(epoch, Session::open(bench, lease, has_hooks).await) },
        );
    }

    /// Runs a lease's hook; the exporter's own come first where it is preempted.
    fn run_hook(&mut self, epoch: Epoch, turn: Turn, preemption: bool) {
        let Some(session) = self.session.clone() else { return };
        let (recorded, begun) = (self.recorded(turn.phase()), self.begun.take());
        let (lifecycle, stop) = (self.lifecycle.clone(), self.new_stop());
        self.spawn(async move {
            let report = match recorded {
                Some(report) => report,
                None => {
                    if preemption {
                        lifecycle.preempt(&session, &stop).await;
                    }
                    lifecycle.run(turn, &session, begun, &stop).await
                }
            };
            Done::Hook(epoch, turn.phase(), report)
        });
    }

    /// What a hook has come to if it ended under an earlier process: it is not run again.
    fn recorded(&self, phase: Phase) -> Option<Report> {
        let end = self.ledger.recorded(phase)?;
        tracing::info!("the {} hook has ended before the restart ({end})", phase.event());
        Some(Report { verdict: self.lifecycle.judge(phase, end), motd: None, ended: None })
    }

    /// Makes changes of drivers to which no hooks belong before there is anything to be seen.
    async fn install_quietly(&mut self) {
        match self.lifecycle.changes() {
            Some(Changes::Quiet) => {
                if let Err(reason) = self.lifecycle.apply(&Stop::default()).await {
                    tracing::warn!("{reason}");
                }
            }
            Some(Changes::WithHooks) | None => {}
        }
    }

    fn maintain(&mut self, epoch: Epoch, task: Task) {
        let stop = self.new_stop();
        let reason = self.ledger.quarantine().unwrap_or_default();
        if task == Task::Apply {
            self.lifecycle.adopt();
        }
        let lifecycle = self.lifecycle.clone();
        self.spawn(async move {
            let result = match task {
                Task::Apply => lifecycle.apply(&stop).await,
                Task::Repair => lifecycle.repair(&reason, &stop).await,
                Task::Farewell(farewell) => {
                    lifecycle.bid_farewell(farewell, &stop).await;
                    Ok(())
                }
            };
            if let Err(reason) = &result {
                tracing::warn!("{reason}");
            }
            Done::Maintained(epoch, result)
        });
    }

    fn release(&mut self, epoch: Epoch, lease: &Lease, fate: Fate) {
        // A failure is shown for as long as somebody who follows the status has not seen it, and so is
        // the end of the last lease.
        let has_failed = self.publisher.status().is_failure();
        let linger = match fate {
            Fate::Served | Fate::Failed => has_failed,
            Fate::Last => {
                if !has_failed {
                    self.publisher.take_leave();
                }
                true
            }
        };
        let (status, told) = (self.bench.status.clone(), self.assigner.release(lease));
        self.spawn(async move {
            if linger {
                timeout(LINGER, status.seen_by_all()).await.ok();
            }
            told.await;
            Done::Released(epoch, fate)
        });
    }

    fn new_stop(&mut self) -> Stop {
        self.hook_stop = Stop::default();
        self.hook_stop.clone()
    }

    fn spawn(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.work.spawn(work.in_current_span());
    }
}
