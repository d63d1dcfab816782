//! What comes from outside, and what it means in each state.
//!
//! Where it means nothing, the state stays.

use super::super::Lease;
use super::super::status::Status;
use super::{
    Changes, Effect, EndReason, Ending, Farewell, Fate, Machine, Prepared, Quarantine, State, Step,
    Task, Tenancy, Work, publish, stay,
};

impl Machine {
    pub(super) fn assigned(&mut self, state: State, lease: Lease) -> Step {
        match state {
            State::Idle => self.open(Tenancy { lease, prepared: Prepared::NotYet }, None),
            // Its client had better not wait for a bench that nobody may use.
            State::Quarantined(_) => {
                (state, vec![Effect::ReleaseLease(self.next_epoch(), lease, Fate::Failed)])
            }
            State::Opening(..)
            | State::BeforeHook(..)
            | State::Ready(_)
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Maintaining(..)
            | State::Stopped => stay(state),
        }
    }

    pub(super) fn transferred(state: State, client: String) -> Step {
        let hand_over = vec![Effect::HandOver(client.clone())];
        match state {
            State::Opening(tenancy, ending) => {
                (State::Opening(tenancy.handed_to(client), ending), hand_over)
            }
            State::BeforeHook(lease, ending) => {
                (State::BeforeHook(Lease { client, ..lease }, ending), hand_over)
            }
            State::Ready(tenancy) => (State::Ready(tenancy.handed_to(client)), hand_over),
            // What is left to be done is done for the client that had the bench.
            State::Idle
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Quarantined(_)
            | State::Maintaining(..)
            | State::Stopped => stay(state),
        }
    }

    pub(super) fn ended(&mut self, state: State, reason: EndReason) -> Step {
        match state {
            State::Opening(tenancy, ending) => {
                stay(State::Opening(tenancy, Some(Ending::ended(ending, reason))))
            }
            State::BeforeHook(lease, ending) => {
                stay(State::BeforeHook(lease, Some(Ending::ended(ending, reason))))
            }
            State::Ready(tenancy) => self.end(tenancy, Ending::ended(None, reason)),
            State::Idle
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Quarantined(_)
            | State::Maintaining(..)
            | State::Stopped => stay(state),
        }
    }

    pub(super) fn told_to_go(&mut self, state: State, farewell: Farewell) -> Step {
        match state {
            State::Idle => self.bid_farewell(farewell, 0, None),
            State::Opening(tenancy, ending) => {
                stay(State::Opening(tenancy, Some(Ending::leaving(ending, farewell))))
            }
            State::BeforeHook(lease, ending) => {
                let ending = Ending::leaving(ending, farewell);
                (State::BeforeHook(lease, Some(ending)), vec![Effect::CancelHook])
            }
            State::Ready(tenancy) => self.end(tenancy, Ending::leaving(None, farewell)),
            State::Failing(tenancy, rest) => stay(State::Failing(tenancy, rest.leave(farewell))),
            State::AfterHook(tenancy, rest) => {
                stay(State::AfterHook(tenancy, rest.leave(farewell)))
            }
            State::Closing(lease, rest) => stay(State::Closing(lease, rest.leave(farewell))),
            State::Releasing(lease, rest) => stay(State::Releasing(lease, rest.leave(farewell))),
            State::Quarantined(quarantine) => self.bid_farewell(farewell, 0, Some(quarantine)),
            State::Maintaining(work, quarantine) => {
                let (work, effects) = work.leave(farewell);
                (State::Maintaining(work, quarantine), effects)
            }
            State::Stopped => stay(state),
        }
    }

    pub(super) fn changed(&mut self, state: State, changes: Changes) -> Step {
        // Where they have to wait, they are remembered.
        self.changes = self.changes.max(Some(changes));
        match state {
            State::Idle => self.apply(None, changes),
            State::Quarantined(quarantine) => self.apply(Some(quarantine), changes),
            State::Opening(..)
            | State::BeforeHook(..)
            | State::Ready(_)
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Maintaining(..)
            | State::Stopped => stay(state),
        }
    }

    pub(super) fn repair_due(&mut self, state: State) -> Step {
        match state {
            State::Quarantined(quarantine) if self.plan.repair => {
                let text = format!("Repairing the bench; {}", quarantine.reason);
                let effects = vec![
                    publish(Status::BeforeLeaseHook, text),
                    Effect::Maintain(self.next_epoch(), Task::Repair),
                ];
                (State::Maintaining(Work::Repair(None), Some(quarantine)), effects)
            }
            State::Idle
            | State::Opening(..)
            | State::BeforeHook(..)
            | State::Ready(_)
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Quarantined(_)
            | State::Maintaining(..)
            | State::Stopped => stay(state),
        }
    }

    pub(super) fn reinstated(&mut self, state: State) -> Step {
        match state {
            State::Quarantined(quarantine) => self.reinstate(quarantine),
            State::Maintaining(work, Some(quarantine)) => {
                let effects = match work {
                    // Nobody needs what it would find out.
                    Work::Repair(_) => vec![Effect::CancelHook],
                    Work::Apply(_) | Work::Farewell(..) => Vec::new(),
                };
                let quarantine = Quarantine { lifted: true, ..quarantine };
                (State::Maintaining(work, Some(quarantine)), effects)
            }
            State::Idle
            | State::Opening(..)
            | State::BeforeHook(..)
            | State::Ready(_)
            | State::Failing(..)
            | State::AfterHook(..)
            | State::Closing(..)
            | State::Releasing(..)
            | State::Maintaining(_, None)
            | State::Stopped => stay(state),
        }
    }
}
