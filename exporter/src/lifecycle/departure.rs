//! How long an exporter may take to go, once it is told to.

use std::time::Duration;

use super::definition::Definition;
use super::execution::GRACE;
use crate::config::Config;
use crate::config::export::Stage;
use crate::config::hooks::{LifecycleEvent, Script};
use crate::controller::FAREWELL;
use crate::lease::scheduled::RELEASE_PATIENCE;

/// How long a hook's processes may take to go that only SIGKILL ends.
const KILL: Duration = Duration::from_secs(5);

/// For everything that is no hook: devices are closed, and clients see the last status.
pub(super) const REST: Duration = Duration::from_secs(10);

/// For telling a controller, which may not be there: first that the lease is over, then that the
/// exporter goes.
const CONTROLLER: Duration = RELEASE_PATIENCE.saturating_add(FAREWELL);

/// What an exporter without hooks needs.
pub(super) fn rest(config: &Config) -> Duration {
    if config.endpoint.is_some() { REST + CONTROLLER } else { REST }
}

/// The longest that an exporter with hooks takes to its end once it is told to go, by SIGTERM or
/// `hilt down`; none if it has no hooks. Each hook counts with its time-out and the time that it
/// takes to end it:
///
/// | when it is told | what runs |
/// |---|---|
/// | in a lease | what is left of a cancelled beforeLease hook, the preemption hooks, the afterLease hook |
/// | at the end of a lease | the afterLease hook, the stop hooks |
/// | between leases | the repair hook, or those of every driver's longest change; the stop hooks |
/// | to go for good | the afterLease hook, the down hooks, those of every driver's deletion |
pub fn longest(config: &Config) -> Option<Duration> {
    config.scripts().next()?;
    let hooks = &config.hooks;
    let of_event = |event: LifecycleEvent| {
        let hooks = hooks.lifecycle.iter().filter(|hook| hook.events.contains(&event));
        total(hooks.map(|hook| &hook.script))
    };
    let (preemption, stop) = (of_event(LifecycleEvent::Preemption), of_event(LifecycleEvent::Stop));
    let before = hooks.before_lease.as_ref().map_or(Duration::ZERO, |_| GRACE + KILL);
    let after = total(hooks.after_lease.iter().map(|after| &after.hook.script));
    let repair = total(hooks.repair.iter().map(|repair| &repair.script));
    let drivers = Definition::all(config);
    let changes: Duration = drivers.iter().map(longest_change).sum();
    let deletions: Duration = drivers.iter().map(|driver| of_change(driver, DELETION)).sum();
    let down = after + of_event(LifecycleEvent::Down) + deletions;
    let longest = [before + preemption + after, after + stop, repair + stop, changes + stop, down];
    longest.into_iter().max().map(|longest| longest + rest(config))
}

const DELETION: [Stage; 2] = [Stage::PreDelete, Stage::PostDelete];

fn longest_change(driver: &Definition) -> Duration {
    let changes =
        [[Stage::PreInstall, Stage::PostInstall], [Stage::PreUpdate, Stage::PostUpdate], DELETION];
    changes.map(|stages| of_change(driver, stages)).into_iter().max().unwrap_or_default()
}

fn of_change(driver: &Definition, stages: [Stage; 2]) -> Duration {
    total(stages.iter().filter_map(|stage| driver.script(*stage)))
}

fn total<'s>(scripts: impl Iterator<Item = &'s Script>) -> Duration {
    scripts.map(|script| script.timeout + GRACE + KILL).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::config;

    #[test]
    fn the_longest_way_counts() {
        let lease =
            "beforeLease: {script: x, timeout: 1000}, afterLease: {script: x, timeout: 100}";
        let stop = "lifecycle: [{run: x, events: [stop], timeout: 50}, \
                    {run: x, events: [preemption], timeout: 1}, \
                    {run: x, events: [down], timeout: 2}]";
        let power = "jumpstarter_driver_power.driver.MockPower";
        let script = "{targetPlatform: linux, run: x, timeoutSeconds: 400}";
        let stages =
            format!("{{preUpdate: {{scripts: [{script}]}}, preDelete: {{scripts: [{script}]}}}}");
        let device = format!("{{type: {power}, hooks: {stages}}}");
        for (file, expected) in [
            ("hooks: {}".to_owned(), None),
            ("hooks: {repair: {script: x, timeout: 1}}".into(), Some(1 + 10)),
            // Cancelled before, then after; or after, then stop.
            (format!("hooks: {{{lease}}}"), Some(10 + 110)),
            (format!("hooks: {{{lease}, {stop}}}"), Some(110 + 60)),
            (
                format!("hooks: {{{lease}, lifecycle: [{{run: x, events: [down], timeout: 5}}]}}"),
                Some(110 + 15),
            ),
            (format!("hooks: {{{stop}}}\nexport: {{a: {device}, b: {device}}}"), Some(820 + 60)),
        ] {
            let found = longest(&config(&file)).map(|longest| longest.as_secs());
            assert_eq!(found, expected.map(|hooks| hooks + REST.as_secs()), "{file}");
        }
    }
}
