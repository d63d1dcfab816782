//! `hooks`: scripts around the life of a lease and of the exporter.

use std::time::Duration;

use super::item::Item;
use super::section::Section;
use super::{positive_seconds, seconds, unless_null};
use crate::config::hooks::{
    AfterLeaseHook, Hooks, LeaseHook, LifecycleEvent, LifecycleHook, OnFailure, RepairHook, Script,
    When,
};
use crate::config::host;

/// Seconds that a lease hook may take, unless it says otherwise.
const LEASE_TIMEOUT: i64 = 120;
/// Seconds that a lifecycle hook may take, unless it says otherwise.
const LIFECYCLE_TIMEOUT: i64 = 3600;
/// Seconds between two attempts to repair, unless it says otherwise.
const REPAIR_INTERVAL: i64 = 60;

/// Reads `hooks`.
pub(super) fn hooks(item: &Item<'_>) -> Hooks {
    let hooks = item.section(|keys| Hooks {
        before_lease: keys
            .get_either("beforeLease", "before_lease")
            .filter(|item| !item.is_null())
            .and_then(|item| item.section(lease_hook)),
        after_lease: keys
            .get_either("afterLease", "after_lease")
            .filter(|item| !item.is_null())
            .and_then(|item| item.section(after_lease_hook)),
        lifecycle: unless_null(keys, "lifecycle")
            .map(|item| item.list())
            .unwrap_or_default()
            .iter()
            .filter_map(|item| item.section(lifecycle_hook))
            .collect(),
        repair: unless_null(keys, "repair").and_then(|item| item.section(repair_hook)),
    });
    hooks.unwrap_or_default()
}

fn lease_hook(keys: &mut Section<'_>) -> LeaseHook {
    let on_failure = keys.get_either("onFailure", "on_failure").and_then(|item| {
        item.choice(&[
            ("warn", OnFailure::Warn),
            ("endLease", OnFailure::EndLease),
            ("exit", OnFailure::Exit),
            ("quarantine", OnFailure::Quarantine),
        ])
    });
    LeaseHook { script: script(keys), on_failure: on_failure.unwrap_or_default() }
}

fn after_lease_hook(keys: &mut Section<'_>) -> AfterLeaseHook {
    let when = keys
        .get("when")
        .and_then(|item| item.choice(&[("ready", When::Ready), ("always", When::Always)]));
    AfterLeaseHook { hook: lease_hook(keys), when: when.unwrap_or_default() }
}

fn repair_hook(keys: &mut Section<'_>) -> RepairHook {
    let interval = keys.get("interval").and_then(|item| positive_seconds(&item, REPAIR_INTERVAL));
    RepairHook {
        script: script(keys),
        interval: interval.unwrap_or_else(|| seconds(REPAIR_INTERVAL)),
    }
}

fn lifecycle_hook(keys: &mut Section<'_>) -> LifecycleHook {
    let text = script_text(keys, "run");
    let timeout = keys.get("timeout").and_then(|item| positive_seconds(&item, LIFECYCLE_TIMEOUT));
    let events = keys.get("events").map(|item| {
        let events = item.list();
        if events.is_empty() {
            item.error("names no event", "name one of stop, preemption and down, or leave it out");
        }
        events.iter().filter_map(lifecycle_event).collect()
    });
    LifecycleHook {
        script: Script {
            text,
            exec: None,
            timeout: timeout.unwrap_or_else(|| seconds(LIFECYCLE_TIMEOUT)),
        },
        events: events.unwrap_or_else(|| LifecycleEvent::ALL.into()),
    }
}

fn lifecycle_event(item: &Item<'_>) -> Option<LifecycleEvent> {
    item.choice(&[
        ("stop", LifecycleEvent::Stop),
        ("preemption", LifecycleEvent::Preemption),
        ("down", LifecycleEvent::Down),
    ])
}

/// `script`, `exec` and `timeout`.
fn script(keys: &mut Section<'_>) -> Script {
    let text = script_text(keys, "script");
    let exec = keys.get_either("exec", "exec_").and_then(|item| {
        let exec = item.optional_text()?;
        host::check_interpreter(&item, &exec);
        Some(exec)
    });
    let timeout = keys.get("timeout").and_then(|item| lease_timeout(&item));
    Script { text, exec, timeout: timeout.unwrap_or_else(|| seconds(LEASE_TIMEOUT)) }
}

fn script_text(keys: &mut Section<'_>, key: &'static str) -> String {
    let item = keys.required(key, &format!("add `{key}:` with what to run"));
    let text = item.and_then(|item| {
        let text = item.text()?;
        if text.trim().is_empty() {
            item.warning("is blank, so that nothing is run", "write a script, or remove the hook");
        }
        host::check_script(&item, &text);
        Some(text)
    });
    text.unwrap_or_default()
}

fn lease_timeout(item: &Item<'_>) -> Option<Duration> {
    let number = item.integer(LEASE_TIMEOUT)?;
    if number < 1 {
        let message = format!("is {number}, so that the hook times out at once");
        item.warning(message, "write at least 1 second");
    }
    Some(seconds(number))
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn lifecycle_hooks_stay_in_order_and_fire_on_everything() {
        let hooks = read(
            "lifecycle: [{run: ./save.sh now}, {run: x, events: [down, stop], timeout: 1}]",
            hooks,
        );
        let [first, second] = &hooks.lifecycle[..] else { panic!("{hooks:?}") };
        assert_eq!(first.script.text, "./save.sh now");
        assert_eq!(first.script.timeout, Duration::from_secs(3600));
        assert_eq!(first.events, LifecycleEvent::ALL);
        assert_eq!(second.script.timeout, Duration::from_secs(1));
        assert_eq!(second.events, [LifecycleEvent::Down, LifecycleEvent::Stop]);
    }

    #[test]
    fn a_repair_hook_has_an_interval_of_its_own() {
        let repair = |source| read(source, hooks).repair.unwrap();
        let least = repair("repair: {script: 'true'}");
        assert_eq!(least.interval, Duration::from_secs(60));
        assert_eq!(least.script.timeout, Duration::from_secs(120));
        let most = repair("repair: {script: x, exec: /bin/sh, timeout: 5, interval: 10}");
        assert_eq!(most.interval, Duration::from_secs(10));
        assert_eq!(most.script.exec.as_deref(), Some("/bin/sh"));
        assert_eq!(most.script.timeout, Duration::from_secs(5));
    }

    #[test]
    fn hilts_own_settings_of_lease_hooks() {
        let hooks = read(
            "{beforeLease: {script: x, onFailure: quarantine}, \
              afterLease: {script: x, when: always}}",
            hooks,
        );
        assert_eq!(hooks.before_lease.unwrap().on_failure, OnFailure::Quarantine);
        assert_eq!(hooks.after_lease.unwrap().when, When::Always);
    }
}
