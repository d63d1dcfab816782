//! The states in which the bench has a lease: what follows when each is done.

use super::super::Lease;
use super::super::status::Status;
use super::{
    Cause, Effect, EndReason, Ending, Fate, Health, Machine, Parting, Prepared, Quarantine, Rest,
    State, Step, Tenancy, Then, Verdict, publish, stay,
};

/// Starts the explanation of a status after a hook that failed with `onFailure: warn`. Clients of
/// the reference look for it.
const HOOK_WARNING: &str = "[HOOK_WARNING] ";

impl Machine {
    pub(super) fn open(&mut self, tenancy: Tenancy, ending: Option<Ending>) -> Step {
        let open = Effect::OpenSession(self.next_epoch(), tenancy.lease.clone());
        (State::Opening(tenancy, ending), vec![open])
    }

    pub(super) fn opened(&mut self, state: State) -> Step {
        let State::Opening(tenancy, ending) = state else { return stay(state) };
        let Tenancy { lease, prepared } = tenancy;
        match (prepared, ending) {
            (Prepared::NotYet | Prepared::Interrupted, None) => self.prepare(lease),
            // Nothing has been set up, so there is nothing for an afterLease hook to clean up.
            (Prepared::NotYet, Some(ending)) => self.close(lease, ending.rest(Health::Untried)),
            (Prepared::Interrupted, Some(ending)) => {
                self.end(Tenancy { lease, prepared: Prepared::Cancelled }, ending)
            }
            (
                Prepared::Unasked
                | Prepared::Passed
                | Prepared::Warned
                | Prepared::Failed
                | Prepared::Cancelled,
                None,
            ) => ready(lease, prepared, READY),
            (
                Prepared::Unasked
                | Prepared::Passed
                | Prepared::Warned
                | Prepared::Failed
                | Prepared::Cancelled,
                Some(ending),
            ) => self.end(Tenancy { lease, prepared }, ending),
        }
    }

    fn prepare(&mut self, lease: Lease) -> Step {
        if !self.plan.before {
            return ready(lease, Prepared::Unasked, READY);
        }
        let effects = vec![
            publish(Status::BeforeLeaseHook, "Running beforeLease hook"),
            Effect::RunBefore(self.epoch),
        ];
        (State::BeforeHook(lease, None), effects)
    }

    pub(super) fn unopened(&mut self, state: State, reason: &str) -> Step {
        let State::Opening(tenancy, ending) = state else { return stay(state) };
        let reason = format!("bench not usable: {reason}");
        if tenancy.prepared != Prepared::NotYet && self.plan.after {
            let ended = Ending::ended(ending, EndReason::Failed);
            let reason = format!("the afterLease hook of {} is owed: {reason}", tenancy.lease.name);
            let quarantine = Quarantine {
                owed: Some((tenancy, ended.reason)),
                ..Quarantine::new(reason, Cause::Leases)
            };
            return self.leave(Some(quarantine), ended.rest(Health::Untried).then);
        }
        let rest = self.settle(Rest::failed(ending, Health::Bad(reason.clone())));
        let effects = vec![
            publish(Status::BeforeLeaseHookFailed, reason),
            Effect::ReleaseLease(self.epoch, tenancy.lease.clone(), Fate::Failed),
        ];
        (State::Releasing(tenancy.lease, rest), effects)
    }

    pub(super) fn before_done(&mut self, state: State, verdict: Verdict) -> Step {
        let State::BeforeHook(lease, ending) = state else { return stay(state) };
        match (verdict, ending) {
            (Verdict::Passed, None) => ready(lease, Prepared::Passed, READY),
            (Verdict::Warned(text), None) => {
                let text = format!("{HOOK_WARNING}beforeLease hook warning: {text}");
                ready(lease, Prepared::Warned, text)
            }
            (Verdict::Passed, Some(ending)) => {
                self.end(Tenancy { lease, prepared: Prepared::Passed }, ending)
            }
            (Verdict::Warned(_), Some(ending)) => {
                self.end(Tenancy { lease, prepared: Prepared::Warned }, ending)
            }
            (Verdict::Cancelled, ending) => {
                let ending = Ending::ended(ending, EndReason::Failed);
                self.end(Tenancy { lease, prepared: Prepared::Cancelled }, ending)
            }
            (Verdict::EndLease(text), ending) => {
                let message = format!("beforeLease hook failed (on_failure=endLease): {text}");
                self.fail(lease, message, Rest::failed(ending, Health::Bad(text)))
            }
            (Verdict::Exit(text), ending) => {
                let message =
                    format!("beforeLease hook failed (on_failure=exit, shutting down): {text}");
                self.fail(lease, message, Rest::failed(ending, Health::Bad(text)).exit())
            }
            (Verdict::Quarantine(text), ending) => {
                let message = format!("beforeLease hook failed (on_failure=quarantine): {text}");
                self.fail(lease, message, Rest::failed(ending, Health::Unusable(text)))
            }
        }
    }

    fn fail(&mut self, lease: Lease, message: String, rest: Rest) -> Step {
        let shown = publish(Status::BeforeLeaseHookFailed, message);
        if self.plan.after && self.plan.after_always {
            let tenancy = Tenancy { lease, prepared: Prepared::Failed };
            // The next status would hide the failure from clients that ask for it now and then.
            return (State::Failing(tenancy, rest), vec![shown, Effect::ShowFailure(self.epoch)]);
        }
        let (state, mut effects) = self.close(lease, rest);
        effects.insert(0, shown);
        (state, effects)
    }

    pub(super) fn shown(&mut self, state: State) -> Step {
        let State::Failing(tenancy, rest) = state else { return stay(state) };
        self.run_after(tenancy, rest, false)
    }

    /// Ends a lease whose client has had the bench, or may have had it.
    pub(super) fn end(&mut self, tenancy: Tenancy, ending: Ending) -> Step {
        let preemption = ending.is_preemption();
        let mut rest = ending.rest(Health::Good);
        if preemption {
            rest.then = Then::Gone(0);
        }
        if self.plan.after || (preemption && self.plan.preemption) {
            self.run_after(tenancy, rest, preemption)
        } else {
            self.close(tenancy.lease, rest)
        }
    }

    fn run_after(&mut self, tenancy: Tenancy, rest: Rest, preemption: bool) -> Step {
        let parting = Parting { reason: rest.reason, prepared: tenancy.prepared, preemption };
        let effects = vec![
            publish(Status::AfterLeaseHook, "Running afterLease hooks"),
            Effect::RunAfter(self.epoch, parting),
        ];
        (State::AfterHook(tenancy, rest), effects)
    }

    pub(super) fn after_done(&mut self, state: State, verdict: Verdict) -> Step {
        let State::AfterHook(Tenancy { lease, .. }, rest) = state else { return stay(state) };
        let (message, rest) = match verdict {
            Verdict::Passed | Verdict::Cancelled => return self.close(lease, rest),
            Verdict::Warned(text) => {
                let text = format!("{HOOK_WARNING}afterLease hook warning: {text}");
                return self.close(lease, rest.explained(text));
            }
            Verdict::EndLease(text) => (
                format!("afterLease hook failed (on_failure=endLease): {text}"),
                rest.worsened(Health::Bad(text)),
            ),
            Verdict::Exit(text) => (
                format!("afterLease hook failed (on_failure=exit, shutting down): {text}"),
                rest.worsened(Health::Bad(text)).exit(),
            ),
            Verdict::Quarantine(text) => (
                format!("afterLease hook failed (on_failure=quarantine): {text}"),
                rest.worsened(Health::Unusable(text)),
            ),
        };
        let (state, mut effects) = self.close(lease, rest);
        effects.insert(0, publish(Status::AfterLeaseHookFailed, message));
        (state, effects)
    }

    fn close(&mut self, lease: Lease, rest: Rest) -> Step {
        let rest = self.settle(rest);
        (State::Closing(lease, rest), vec![Effect::CloseDevices(self.epoch)])
    }

    /// Counts how many leases in a row have failed, and draws the line.
    fn settle(&mut self, rest: Rest) -> Rest {
        let health = match rest.health {
            Health::Untried => Health::Untried,
            Health::Good => {
                self.failures = 0;
                Health::Good
            }
            Health::Bad(text) => {
                self.failures = self.failures.saturating_add(1);
                if self.plan.quarantine_after == 0 || self.failures < self.plan.quarantine_after {
                    Health::Bad(text)
                } else {
                    let count = self.failures;
                    Health::Unusable(format!("{count} leases in a row have failed: {text}"))
                }
            }
            Health::Unusable(text) => {
                self.failures = self.failures.saturating_add(1);
                Health::Unusable(text)
            }
        };
        Rest { health, ..rest }
    }

    pub(super) fn closed(&mut self, state: State) -> Step {
        let State::Closing(lease, rest) = state else { return stay(state) };
        let fate = match rest.reason {
            EndReason::Failed => Fate::Failed,
            EndReason::Released
            | EndReason::Expired
            | EndReason::Disconnected
            | EndReason::Withdrawn
            | EndReason::ExporterStopping => match rest.then {
                Then::Available(_) if !self.plan.exit_on_lease_end => Fate::Served,
                Then::Available(_) | Then::Go(..) | Then::Gone(_) => Fate::Last,
            },
        };
        let release = Effect::ReleaseLease(self.epoch, lease.clone(), fate);
        (State::Releasing(lease, rest), vec![release])
    }

    pub(super) fn released(&mut self, state: State) -> Step {
        let State::Releasing(_, Rest { health, then, .. }) = state else { return stay(state) };
        let quarantine = match health {
            Health::Untried | Health::Good | Health::Bad(_) => None,
            Health::Unusable(reason) => Some(Quarantine::new(reason, Cause::Leases)),
        };
        self.leave(quarantine, then)
    }

    /// Goes on without a lease.
    fn leave(&mut self, quarantine: Option<Quarantine>, then: Then) -> Step {
        let (state, mut effects) = self.vacate(quarantine, then);
        // After the status that says it is over, so that no client misses that.
        let shown = effects.iter().take_while(|effect| effect.is_publication()).count();
        effects.insert(shown, Effect::CloseSession);
        (state, effects)
    }
}

const READY: &str = "Ready for commands";

fn ready(lease: Lease, prepared: Prepared, text: impl Into<String>) -> Step {
    (State::Ready(Tenancy { lease, prepared }), vec![publish(Status::LeaseReady, text)])
}
