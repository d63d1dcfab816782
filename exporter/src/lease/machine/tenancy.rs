//! The states in which the bench has a lease.

use super::super::Lease;
use super::super::status::Status;
use super::{
    Cause, Effect, EndReason, Ending, Event, Fate, Health, Machine, Parting, Phase, Prepared,
    Quarantine, Rest, State, Step, Tenancy, Then, Verdict, publish,
};

/// Starts the explanation of a status after a hook that failed with `onFailure: warn`. Clients of
/// the reference look for it.
const HOOK_WARNING: &str = "[HOOK_WARNING] ";

impl Machine {
    pub(super) fn open(&mut self, tenancy: Tenancy, ending: Option<Ending>) -> Step {
        let open = Effect::OpenSession(self.next_epoch(), tenancy.lease.clone());
        (State::Opening(tenancy, ending), vec![open])
    }

    pub(super) fn opening(
        &mut self,
        tenancy: Tenancy,
        ending: Option<Ending>,
        event: Event,
    ) -> Step {
        match event {
            Event::Opened(_) => self.opened(tenancy, ending),
            Event::OpenFailed(_, reason) => self.unopened(tenancy, ending, &reason),
            Event::Ended(reason) => {
                (State::Opening(tenancy, Some(Ending::ended(ending, reason))), Vec::new())
            }
            Event::Stop(farewell) => {
                (State::Opening(tenancy, Some(Ending::leaving(ending, farewell))), Vec::new())
            }
            Event::Assigned(_)
            | Event::HookDone(..)
            | Event::Shown(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::Opening(tenancy, ending), Vec::new()),
        }
    }

    fn opened(&mut self, tenancy: Tenancy, ending: Option<Ending>) -> Step {
        match (tenancy.prepared, ending) {
            (Prepared::NotYet, None) if self.plan.before => {
                let effects = vec![
                    publish(Status::BeforeLeaseHook, "Running beforeLease hook"),
                    Effect::RunBefore(self.epoch),
                ];
                (State::BeforeHook(tenancy.lease, None), effects)
            }
            (Prepared::NotYet, None) => ready(tenancy.lease, Prepared::Unasked, READY),
            // Nothing has been set up, so there is nothing for an afterLease hook to clean up.
            (Prepared::NotYet, Some(ending)) => {
                self.close(tenancy.lease, ending.rest(Health::Untried))
            }
            (
                Prepared::Unasked
                | Prepared::Passed
                | Prepared::Warned
                | Prepared::Failed
                | Prepared::Cancelled,
                None,
            ) => ready(tenancy.lease, tenancy.prepared, READY),
            (
                Prepared::Unasked
                | Prepared::Passed
                | Prepared::Warned
                | Prepared::Failed
                | Prepared::Cancelled,
                Some(ending),
            ) => self.end(tenancy, ending),
        }
    }

    fn unopened(&mut self, tenancy: Tenancy, ending: Option<Ending>, reason: &str) -> Step {
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

    pub(super) fn before_hook(
        &mut self,
        lease: Lease,
        ending: Option<Ending>,
        event: Event,
    ) -> Step {
        match event {
            Event::HookDone(_, Phase::Before, verdict) => self.before_done(lease, ending, verdict),
            Event::Ended(reason) => {
                (State::BeforeHook(lease, Some(Ending::ended(ending, reason))), Vec::new())
            }
            Event::Stop(farewell) => {
                let ending = Ending::leaving(ending, farewell);
                (State::BeforeHook(lease, Some(ending)), vec![Effect::CancelHook])
            }
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(_, Phase::After, _)
            | Event::Shown(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::BeforeHook(lease, ending), Vec::new()),
        }
    }

    fn before_done(&mut self, lease: Lease, ending: Option<Ending>, verdict: Verdict) -> Step {
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

    pub(super) fn failing(&mut self, tenancy: Tenancy, rest: Rest, event: &Event) -> Step {
        match event {
            Event::Shown(_) => self.run_after(tenancy, rest, false),
            Event::Stop(farewell) => (State::Failing(tenancy, rest.leave(*farewell)), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::Ended(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::Failing(tenancy, rest), Vec::new()),
        }
    }

    pub(super) fn ready(&mut self, tenancy: Tenancy, event: &Event) -> Step {
        match event {
            Event::Ended(reason) => self.end(tenancy, Ending::ended(None, *reason)),
            Event::Stop(farewell) => self.end(tenancy, Ending::leaving(None, *farewell)),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::Shown(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::Ready(tenancy), Vec::new()),
        }
    }

    /// Ends a lease whose client has had the bench, or may have had it.
    fn end(&mut self, tenancy: Tenancy, ending: Ending) -> Step {
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

    pub(super) fn after_hook(&mut self, tenancy: Tenancy, rest: Rest, event: Event) -> Step {
        match event {
            Event::HookDone(_, Phase::After, verdict) => {
                self.after_done(tenancy.lease, rest, verdict)
            }
            Event::Stop(farewell) => (State::AfterHook(tenancy, rest.leave(farewell)), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(_, Phase::Before, _)
            | Event::Ended(_)
            | Event::Shown(_)
            | Event::Closed(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::AfterHook(tenancy, rest), Vec::new()),
        }
    }

    fn after_done(&mut self, lease: Lease, rest: Rest, verdict: Verdict) -> Step {
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

    pub(super) fn closing(&mut self, lease: Lease, rest: Rest, event: &Event) -> Step {
        match event {
            Event::Closed(_) => {
                let fate = match rest.reason {
                    EndReason::Failed => Fate::Failed,
                    EndReason::Released
                    | EndReason::Expired
                    | EndReason::Disconnected
                    | EndReason::ExporterStopping => Fate::Served,
                };
                let release = Effect::ReleaseLease(self.epoch, lease.clone(), fate);
                (State::Releasing(lease, rest), vec![release])
            }
            Event::Stop(farewell) => (State::Closing(lease, rest.leave(*farewell)), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::Ended(_)
            | Event::Shown(_)
            | Event::Released(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::Closing(lease, rest), Vec::new()),
        }
    }

    pub(super) fn releasing(&mut self, lease: Lease, rest: Rest, event: &Event) -> Step {
        match event {
            Event::Released(_) => {
                let Rest { health, then, .. } = rest;
                let quarantine = match health {
                    Health::Untried | Health::Good | Health::Bad(_) => None,
                    Health::Unusable(reason) => Some(Quarantine::new(reason, Cause::Leases)),
                };
                self.leave(quarantine, then)
            }
            Event::Stop(farewell) => (State::Releasing(lease, rest.leave(*farewell)), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::Ended(_)
            | Event::Shown(_)
            | Event::Closed(_)
            | Event::Changed(_)
            | Event::RepairDue
            | Event::Reinstated
            | Event::Maintained(..) => (State::Releasing(lease, rest), Vec::new()),
        }
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
