//! The states in which nobody has the bench: what follows when each is done.

use super::super::status::Status;
use super::{
    Cause, Changes, Effect, Ending, Farewell, Machine, Quarantine, State, Step, Task, Then, Work,
    publish, stay,
};

impl Machine {
    /// Goes on without a lease: to the next one, into quarantine, or away.
    pub(super) fn vacate(&mut self, quarantine: Option<Quarantine>, then: Then) -> Step {
        match then {
            Then::Available(_) if self.plan.exit_on_lease_end => {
                self.bid_farewell(Farewell::Stop, 0, quarantine)
            }
            Then::Available(text) => self.stand_by(quarantine, text),
            Then::Go(farewell, code) => self.bid_farewell(farewell, code, quarantine),
            Then::Gone(code) => stopped(code),
        }
    }

    /// Waits for the next lease, or for repair. Changes that had to wait are made first.
    pub(super) fn stand_by(
        &mut self,
        quarantine: Option<Quarantine>,
        text: impl Into<String>,
    ) -> Step {
        let mut effects = match &quarantine {
            None => vec![publish(Status::Available, text)],
            Some(Quarantine { reason, .. }) => {
                vec![publish(Status::BeforeLeaseHookFailed, format!("quarantined: {reason}"))]
            }
        };
        if let Some(changes) = self.changes {
            let (state, more) = self.apply(quarantine, changes);
            effects.extend(more);
            return (state, effects);
        }
        match quarantine {
            None => (State::Idle, effects),
            Some(quarantine) => {
                if self.plan.repair {
                    effects.push(Effect::ScheduleRepair);
                }
                (State::Quarantined(quarantine), effects)
            }
        }
    }

    pub(super) fn apply(&mut self, quarantine: Option<Quarantine>, changes: Changes) -> Step {
        self.changes = None;
        let maintain = Effect::Maintain(self.next_epoch(), Task::Apply);
        let effects = match changes {
            Changes::Quiet => vec![maintain],
            Changes::WithHooks => {
                vec![publish(Status::BeforeLeaseHook, "Changing drivers"), maintain]
            }
        };
        (State::Maintaining(Work::Apply(None), quarantine), effects)
    }

    pub(super) fn bid_farewell(
        &mut self,
        farewell: Farewell,
        code: u8,
        quarantine: Option<Quarantine>,
    ) -> Step {
        let has_hooks = match farewell {
            Farewell::Stop => self.plan.stop,
            Farewell::Down => self.plan.down,
        };
        if !has_hooks {
            return stopped(code);
        }
        let effects = vec![
            publish(Status::AfterLeaseHook, format!("Running {} hooks", farewell.event().word())),
            Effect::Maintain(self.next_epoch(), Task::Farewell(farewell)),
        ];
        (State::Maintaining(Work::Farewell(farewell, code, None), quarantine), effects)
    }

    /// Takes the bench into service again; what it still owes comes first.
    pub(super) fn reinstate(&mut self, quarantine: Quarantine) -> Step {
        self.failures = 0;
        match (quarantine.cause, quarantine.owed) {
            // It is in order as soon as the drivers are what they should be.
            (Cause::Drivers, owed) => {
                self.apply(Some(Quarantine { owed, ..quarantine }), Changes::WithHooks)
            }
            (Cause::Leases, Some((tenancy, reason))) => {
                self.open(tenancy, Some(Ending::ended(None, reason)))
            }
            (Cause::Leases, None) => self.stand_by(None, "Available for new lease"),
        }
    }

    pub(super) fn maintained(&mut self, state: State, result: Result<(), String>) -> Step {
        let State::Maintaining(work, quarantine) = state else { return stay(state) };
        let is_lifted = quarantine.as_ref().is_some_and(|quarantine| quarantine.lifted);
        let quarantine = quarantine.map(|quarantine| Quarantine { lifted: false, ..quarantine });
        let (leaving, quarantine, is_good) = match (work, result) {
            (Work::Farewell(_, code, None), _) => return stopped(code),
            (Work::Farewell(_, code, Some(farewell)), _) => {
                return self.bid_farewell(farewell, code, quarantine);
            }
            (Work::Apply(leaving), Err(reason)) => {
                let owed = quarantine.and_then(|quarantine| quarantine.owed);
                let cause = Cause::Drivers;
                (leaving, Some(Quarantine { owed, ..Quarantine::new(reason, cause) }), false)
            }
            (Work::Apply(leaving), Ok(())) => match quarantine {
                Some(quarantine) if quarantine.cause == Cause::Drivers => {
                    (leaving, Some(Quarantine { cause: Cause::Leases, ..quarantine }), true)
                }
                quarantine => (leaving, quarantine, is_lifted),
            },
            (Work::Repair(leaving), result) => (leaving, quarantine, result.is_ok() || is_lifted),
        };
        match (leaving, quarantine) {
            (None, Some(quarantine)) if is_good => self.reinstate(quarantine),
            (None, quarantine) => self.stand_by(quarantine, "Available for new lease"),
            // What is repaired and owes nothing is forgiven; the rest is for the next start.
            (Some(farewell), Some(Quarantine { owed: None, cause: Cause::Leases, .. }))
                if is_good =>
            {
                self.failures = 0;
                self.bid_farewell(farewell, 0, None)
            }
            (Some(farewell), quarantine) => self.bid_farewell(farewell, 0, quarantine),
        }
    }
}

fn stopped(code: u8) -> Step {
    let mut effects = Vec::new();
    if code == 0 {
        effects.push(publish(Status::Offline, "Exporter shutting down"));
    }
    // Otherwise a failure is the last thing that clients see.
    effects.push(Effect::Exit(code));
    (State::Stopped, effects)
}
