//! Places where a test can end the process, by name.
//!
//! `HILT_FAULT_POINT=NAME[:before|:after][#N]` kills it right before or right after (the default) the
//! N-th commit (default: the first) that writes what NAME says. A recovery is tested at every one of
//! [`names`], and without waiting for the right moment.

use std::env;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::event::HookEvent;
use super::record::Write;
use crate::lease::machine::journal::Progress;
use crate::store::StoreError;

/// The environment variable that names one.
pub const VARIABLE: &str = "HILT_FAULT_POINT";

/// All there are.
pub fn names() -> Vec<String> {
    let fixed = [
        "lease-preparing",
        "lease-prepared",
        "lease-cleaning-up",
        "lease-over",
        "driver-applied",
        "driver-removed",
        "quarantined",
        "quarantine-lifted",
        "failures-in-a-row",
        "process",
    ];
    let runs = HookEvent::ALL.into_iter().flat_map(|event| {
        [format!("run-begun-{}", event.word()), format!("run-ended-{}", event.word())]
    });
    fixed.into_iter().map(str::to_owned).chain(runs).collect()
}

/// On which side of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Where the process is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultPoint {
    name: String,
    side: Side,
    /// How many commits of the name are still to come on that side, this one included.
    remaining: u32,
}

impl FaultPoint {
    /// The one that the environment asks for.
    pub(super) fn of_environment() -> Result<Option<Self>, StoreError> {
        let Some(text) = env::var_os(VARIABLE) else { return Ok(None) };
        Self::parse(&text.to_string_lossy()).map(Some).map_err(StoreError::FaultPoint)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (rest, remaining) = match text.split_once('#') {
            Some((rest, number)) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                (rest, number.ok_or_else(|| format!("'{text}' has to end in a number after #"))?)
            }
            None => (text, 1),
        };
        let (name, side) = match rest.split_once(':') {
            None | Some((_, "after")) => (rest.trim_end_matches(":after"), Side::After),
            Some((name, "before")) => (name, Side::Before),
            Some((_, side)) => return Err(format!("'{side}' is neither 'before' nor 'after'")),
        };
        if !names().iter().any(|known| known == name) {
            return Err(format!("no fault point '{name}'; there are: {}", names().join(", ")));
        }
        Ok(Self { name: name.into(), side, remaining })
    }

    /// Ends the process if this is the place.
    pub(super) fn reach(&mut self, side: Side, names: &[String]) {
        if self.is_at(side, names) {
            // SIGKILL, so that nothing gets the chance to clean up, as in a real crash.
            kill(Pid::this(), Signal::SIGKILL).ok();
        }
    }

    fn is_at(&mut self, side: Side, names: &[String]) -> bool {
        if side != self.side || self.remaining == 0 || !names.contains(&self.name) {
            return false;
        }
        self.remaining -= 1;
        self.remaining == 0
    }
}

/// The name of the fault point that a change is. `event_of` knows the event of a run by its id.
pub(super) fn name(write: &Write, event_of: impl Fn(uuid::Uuid) -> Option<HookEvent>) -> String {
    match write {
        Write::Lease(_, progress) => match progress {
            Progress::Preparing => "lease-preparing".into(),
            Progress::Prepared(_) => "lease-prepared".into(),
            Progress::CleaningUp(..) => "lease-cleaning-up".into(),
            Progress::Over => "lease-over".into(),
        },
        Write::RunBegun(run) => format!("run-begun-{}", run.event.word()),
        Write::RunEnded(run) => {
            format!("run-ended-{}", event_of(run.id).map_or("unknown", HookEvent::word))
        }
        Write::DriverApplied(_) => "driver-applied".into(),
        Write::DriverRemoved { .. } => "driver-removed".into(),
        Write::Quarantined(_) => "quarantined".into(),
        Write::QuarantineLifted => "quarantine-lifted".into(),
        Write::FailuresInARow(_) => "failures-in-a-row".into(),
        Write::Process(_) => "process".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_point_is_a_name_a_side_and_a_number() {
        let point =
            |name: &str, side, remaining| Ok(FaultPoint { name: name.into(), side, remaining });
        let parse = FaultPoint::parse;
        assert_eq!(parse("lease-over"), point("lease-over", Side::After, 1));
        assert_eq!(parse("lease-over:after#2"), point("lease-over", Side::After, 2));
        assert_eq!(parse("run-begun-stop:before"), point("run-begun-stop", Side::Before, 1));
        for wrong in ["", "lease", "lease-over:during", "lease-over#0", "lease-over#x", ":before"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for name in names() {
            assert_eq!(parse(&name), point(&name, Side::After, 1));
        }
    }

    #[test]
    fn it_is_reached_once_at_the_right_commit() {
        let mut point = FaultPoint::parse("quarantined:before#2").unwrap();
        let (other, right) =
            (["lease-over".to_owned()], ["lease-over".into(), "quarantined".into()]);
        assert!(!point.is_at(Side::Before, &other));
        assert!(!point.is_at(Side::Before, &right));
        assert!(!point.is_at(Side::After, &right));
        assert!(point.is_at(Side::Before, &right));
        assert!(!point.is_at(Side::Before, &right));
    }
}
