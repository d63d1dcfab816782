//! What the end of a hook means, in the words that clients of the reference know.

use hooks::Ending;

use crate::config::hooks::{LeaseHook, OnFailure};
use crate::lease::machine::Verdict;
use crate::session::log::Severity;

/// Considers how a hook ended and what its configuration says about failures.
pub(super) fn of(ending: &Ending, hook: &LeaseHook) -> Verdict {
    let failure = match ending {
        Ending::Exited(0) => return Verdict::Passed,
        Ending::Cancelled => return Verdict::Cancelled,
        Ending::Exited(code) => format!("Hook failed with exit code {code}"),
        Ending::Signaled(signal) => format!("Hook failed with exit code -{signal}"),
        Ending::TimedOut => {
            format!("Hook timed out after {} seconds", hook.script.timeout.as_secs())
        }
        Ending::NotStarted(error) => format!("Error executing hook: {error}"),
    };
    match hook.on_failure {
        OnFailure::Warn => Verdict::Warned(failure),
        OnFailure::EndLease => Verdict::EndLease(failure),
        OnFailure::Quarantine => Verdict::Quarantine(failure),
        OnFailure::Exit => Verdict::Exit(failure),
    }
}

/// What the log says of a failure, to the letter of the reference: people have alarms on it.
pub(super) fn line(verdict: &Verdict) -> Option<(Severity, String)> {
    match verdict {
        Verdict::Passed | Verdict::Cancelled => None,
        Verdict::Warned(failure) => {
            Some((Severity::Warning, format!("{failure} (on_failure=warn, continuing)")))
        }
        Verdict::EndLease(failure) => {
            Some((Severity::Error, format!("{failure} (on_failure=endLease, raising exception)")))
        }
        Verdict::Quarantine(failure) => {
            Some((Severity::Error, format!("{failure} (on_failure=quarantine, raising exception)")))
        }
        Verdict::Exit(failure) => {
            Some((Severity::Error, format!("{failure} (on_failure=exit, raising exception)")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hooks::StartError;

    use super::*;
    use crate::config::hooks::Script;

    fn verdict(ending: &Ending, on_failure: OnFailure) -> Verdict {
        let script = Script { timeout: Duration::from_secs(120), ..Script::default() };
        of(ending, &LeaseHook { script, on_failure })
    }

    #[test]
    fn every_ending_has_its_words() {
        let text = |ending| {
            let Verdict::Warned(text) = verdict(&ending, OnFailure::Warn) else { panic!() };
            text
        };
        assert_eq!(text(Ending::Exited(3)), "Hook failed with exit code 3");
        assert_eq!(text(Ending::Signaled(9)), "Hook failed with exit code -9");
        assert_eq!(text(Ending::TimedOut), "Hook timed out after 120 seconds");
        let error = StartError::System("no terminal".into());
        assert_eq!(text(Ending::NotStarted(error)), "Error executing hook: no terminal");
    }

    #[test]
    fn on_failure_decides_what_a_failure_leads_to() {
        let text = || "Hook failed with exit code 1".to_owned();
        let failed = Ending::Exited(1);
        assert_eq!(verdict(&failed, OnFailure::Warn), Verdict::Warned(text()));
        assert_eq!(verdict(&failed, OnFailure::EndLease), Verdict::EndLease(text()));
        assert_eq!(verdict(&failed, OnFailure::Exit), Verdict::Exit(text()));
        assert_eq!(verdict(&failed, OnFailure::Quarantine), Verdict::Quarantine(text()));
        for on_failure in [OnFailure::Warn, OnFailure::EndLease, OnFailure::Exit] {
            assert_eq!(verdict(&Ending::Exited(0), on_failure), Verdict::Passed);
            assert_eq!(verdict(&Ending::Cancelled, on_failure), Verdict::Cancelled);
        }
    }
}
