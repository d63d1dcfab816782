//! The life of a bench, lease after lease, as a pure function of what happens.
//!
//! ```text
//!            Assigned           opened                passed
//!   Idle ──────────────► Opening ─────► BeforeHook ───────────► Ready
//!   ▲ │                    │                │                     │ ended, stop
//!   │ │                    │ failed         │ failed              ▼
//!   │ │                    │                ├────► Failing ─► AfterHook
//!   │ │                    │                ▼                     │ done
//!   │ │     Released       ▼    closed      │                     │
//!   ├─┼───────────────  Releasing ◄───── Closing ◄────────────────┘
//!   │ │                   │
//!   │ │ changes, stop     │ too many failures, or onFailure: quarantine
//!   │ ▼                   ▼
//!  Maintaining ◄───► Quarantined
//!     │ gone
//!     ▼
//!  Stopped
//! ```
//!
//! No clock, no I/O, no task: events come in, effects go out, and what has happened meanwhile is
//! data in the state. Only [`super::actor`] owns a [`Machine`]. What comes from outside is in `orders`;
//! how work goes on when its effect is answered, in `tenancy` with a lease and in `vacancy` without;
//! and what of all that outlives a crash, in [`journal`].

mod event;
pub mod journal;
mod orders;
mod state;
mod tenancy;
mod vacancy;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use self::event::{
    Changes, Effect, Epoch, Event, Farewell, Fate, Parting, Phase, Task, Verdict,
};
use self::journal::Journal;
pub use self::state::{
    Cause, EndReason, Ending, Health, Prepared, Quarantine, Rest, State, Tenancy, Then, Work,
};
use super::Lease;
use super::status::Status;

/// The state of one exporter's bench, and the rules by which it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    plan: Plan,
    state: State,
    /// Counts what the machine starts, so that the end of one thing is never taken for another's.
    epoch: Epoch,
    /// How many leases in a row have failed.
    failures: u32,
    /// There are drivers to be installed, updated or deleted.
    changes: Option<Changes>,
}

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// There is a beforeLease hook.
    pub before: bool,
    /// There is an afterLease hook.
    pub after: bool,
    /// The afterLease hook also runs after a beforeLease hook that has failed.
    pub after_always: bool,
    /// The exporter stops after its first lease.
    pub exit_on_lease_end: bool,
    /// There are hooks for being told to go while leased.
    pub preemption: bool,
    /// There are hooks for stopping without a lease.
    pub stop: bool,
    /// There are hooks for the end of the exporter for good, its drivers' own included.
    pub down: bool,
    /// There is a hook that repairs a quarantined bench.
    pub repair: bool,
    /// How many failures in a row quarantine the bench; 0 for never.
    pub quarantine_after: u32,
}

type Step = (State, Vec<Effect>);

impl Machine {
    /// A machine without a lease. `failures` is how many leases in a row have failed before.
    pub fn new(plan: Plan, failures: u32) -> Self {
        Self { plan, state: State::Idle, epoch: Epoch::default(), failures, changes: None }
    }

    /// A machine that goes on where an earlier process was, and what is to be done first. `changes`
    /// are those that the drivers need by now.
    pub fn restored(plan: Plan, journal: Journal, changes: Option<Changes>) -> (Self, Vec<Effect>) {
        let mut machine = Self { changes, ..Self::new(plan, journal.failures) };
        let lease = journal.lease.and_then(|(lease, progress)| progress.resume(lease));
        let (state, effects) = match journal.quarantine {
            None => match (lease, changes) {
                (None, None) => (State::Idle, Vec::new()),
                (None, Some(changes)) => machine.apply(None, changes),
                (Some((tenancy, ending)), _) => machine.open(tenancy, ending),
            },
            Some((reason, cause)) => {
                match cause {
                    Cause::Leases => {}
                    // Whatever it was, it may have been put right in the configuration.
                    Cause::Drivers => machine.changes = changes.or(Some(Changes::Quiet)),
                }
                let owed = lease.and_then(|(tenancy, ending)| Some((tenancy, ending?.reason)));
                let quarantine = Quarantine { owed, ..Quarantine::new(reason, cause) };
                machine.stand_by(Some(quarantine), String::new())
            }
        };
        machine.state = state;
        (machine, effects)
    }

    /// Where the bench stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The lease that the bench has, as long as nothing is known of its end.
    pub fn tenant(&self) -> Option<&Lease> {
        match &self.state {
            State::Opening(tenancy, None) | State::Ready(tenancy) => Some(&tenancy.lease),
            State::BeforeHook(lease, None) => Some(lease),
            State::Idle
            | State::Opening(_, Some(_))
            | State::BeforeHook(_, Some(_))
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Quarantined(_)
            | State::Maintaining(..)
            | State::Stopped => None,
        }
    }

    /// Whether a lease keeps drivers from being changed that its client has not finished with.
    pub fn holds_up_changes(&self) -> bool {
        matches!(self.state, State::Ready(_)) && self.changes.is_some()
    }

    /// Follows another configuration from now on.
    pub fn follow(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Takes an event. One that means nothing in this state, or that belongs to something that is
    /// over, changes nothing and has no effects.
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        if event.epoch().is_some_and(|epoch| epoch != self.epoch) {
            return Vec::new();
        }
        // `Stopped` only stands in while the state is on its way to the next.
        let state = std::mem::replace(&mut self.state, State::Stopped);
        let (state, effects) = match event {
            Event::Assigned(lease) => self.assigned(state, lease),
            Event::Transferred(client) => Self::transferred(state, client),
            Event::Ended(reason) => self.ended(state, reason),
            Event::Stop(farewell) => self.told_to_go(state, farewell),
            Event::Changed(changes) => self.changed(state, changes),
            Event::RepairDue => self.repair_due(state),
            Event::Reinstated => self.reinstated(state),
            // Each of these answers an effect, and only the state that had it waits for the answer.
            Event::Opened(_) => self.opened(state),
            Event::OpenFailed(_, reason) => self.unopened(state, &reason),
            Event::HookDone(_, Phase::Before, verdict) => self.before_done(state, verdict),
            Event::HookDone(_, Phase::After, verdict) => self.after_done(state, verdict),
            Event::Shown(_) => self.shown(state),
            Event::Closed(_) => self.closed(state),
            Event::Released(_) => self.released(state),
            Event::Maintained(_, result) => self.maintained(state, result),
        };
        self.state = state;
        effects
    }

    fn next_epoch(&mut self) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.epoch
    }
}

/// No effects.
fn stay(state: State) -> Step {
    (state, Vec::new())
}

fn publish(status: Status, text: impl Into<String>) -> Effect {
    Effect::Publish(status, text.into())
}
