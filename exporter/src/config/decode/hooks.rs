//! `hooks`: scripts around the life of a lease and of the exporter.

use std::path::PathBuf;
use std::time::Duration;

use super::item::Item;
use super::section::Section;
use super::{positive_seconds, seconds, unless_null};
use crate::config::hooks::{
    AfterLeaseHook, Env, Form, Hooks, Inherit, LeaseHook, LifecycleEvent, LifecycleHook, OnFailure,
    RepairHook, Script, When,
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
        quarantine_after: keys
            .get("quarantineAfter")
            .and_then(|item| count(&item))
            .unwrap_or(Hooks::default().quarantine_after),
    });
    hooks.unwrap_or_default()
}

/// How many; 0 for any number.
fn count(item: &Item<'_>) -> Option<u32> {
    let number = item.integer(5)?;
    if number < 0 {
        let hint = "write how many failures in a row are too many, or 0 for never";
        item.error(format!("must be at least 0, but is {number}"), hint);
    }
    Some(u32::try_from(number).unwrap_or(u32::MAX))
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
    let text = script_text(keys, "run", Form::Text);
    let timeout = keys.get("timeout").and_then(|item| positive_seconds(&item, LIFECYCLE_TIMEOUT));
    let events = keys.get("events").map(|item| {
        let events = item.list();
        if events.is_empty() {
            item.error("names no event", "name one of stop, preemption and down, or leave it out");
        }
        events.iter().filter_map(lifecycle_event).collect()
    });
    let script = Script {
        text,
        form: Form::Text,
        timeout: timeout.unwrap_or_else(|| seconds(LIFECYCLE_TIMEOUT)),
        ..surroundings(keys)
    };
    LifecycleHook {
        script: checked(script, keys.get("run")),
        events: events.unwrap_or_else(|| LifecycleEvent::ALL.into()),
    }
}

fn lifecycle_event(item: &Item<'_>) -> Option<LifecycleEvent> {
    item.choice(&LifecycleEvent::ALL.map(|event| (event.word(), event)))
}

/// `script` and `timeout`, and what every hook has.
fn script(keys: &mut Section<'_>) -> Script {
    let text = script_text(keys, "script", Form::TextOrFile);
    let timeout = keys.get("timeout").and_then(|item| lease_timeout(&item));
    let timeout = timeout.unwrap_or_else(|| seconds(LEASE_TIMEOUT));
    checked(Script { text, timeout, ..surroundings(keys) }, keys.get("script"))
}

/// The script, after its file has been looked at, if it is one.
pub(super) fn checked(script: Script, item: Option<Item<'_>>) -> Script {
    if let (Some(item), Some(file)) = (item, script.file()) {
        host::check_file(&item, &file);
    }
    script
}

/// What every hook has: `exec`, `env`, `user` and `workdir`.
pub(super) fn surroundings(keys: &mut Section<'_>) -> Script {
    let exec = keys.get_either("exec", "exec_").and_then(|item| {
        let exec = item.optional_text()?;
        host::check_interpreter(&item, &exec);
        Some(exec)
    });
    let env = unless_null(keys, "env").and_then(|item| item.section(env)).unwrap_or_default();
    let user = unless_null(keys, "user").and_then(|item| {
        let user = item.text()?;
        host::check_user(&item, &user);
        Some(user)
    });
    let workdir = unless_null(keys, "workdir").and_then(|item| workdir(&item));
    Script { exec, env, user, workdir, ..Script::default() }
}

fn env(keys: &mut Section<'_>) -> Env {
    let set = unless_null(keys, "set").map(|item| {
        let named = item.named().into_iter();
        let text = |(name, item): (String, Item<'_>)| {
            check_variable(&item, &name);
            Some((name, item.text()?))
        };
        named.filter_map(text).collect()
    });
    Env {
        inherit: unless_null(keys, "inherit").map(|item| inherit(&item)).unwrap_or_default(),
        set: set.unwrap_or_default(),
    }
}

fn inherit(item: &Item<'_>) -> Inherit {
    if item.is("all") {
        return Inherit::All;
    }
    if !item.is_list() {
        let message = format!("must be `all` or a list of names, but is {}", item.shown());
        item.error(message, "write `all`, or names as in [HOME, LANG]");
        return Inherit::All;
    }
    let names = item.list().into_iter().filter_map(|item| {
        let name = item.text()?;
        check_variable(&item, &name);
        Some(name)
    });
    Inherit::Only(names.collect())
}

fn check_variable(item: &Item<'_>, name: &str) {
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = format!("`{name}` can't be the name of a variable");
        item.key_error(message, "write a name without `=`");
    }
}

fn workdir(item: &Item<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(item.text()?);
    if !path.is_absolute() {
        let message = format!("must be an absolute path, but is {}", item.shown());
        item.error(message, "write the path from `/` on");
    } else if !path.is_dir() {
        let message = format!("there is no directory {} here", item.shown());
        item.warning(message, "create it, or check the path");
    }
    Some(path)
}

fn script_text(keys: &mut Section<'_>, key: &'static str, form: Form) -> String {
    let item = keys.required(key, &format!("add `{key}:` with what to run"));
    let text = item.and_then(|item| {
        let text = item.text()?;
        if text.trim().is_empty() {
            item.warning("is blank, so that nothing is run", "write a script, or remove the hook");
        }
        match form {
            Form::TextOrFile => host::check_script(&item, &text),
            Form::Text => {}
        }
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
    fn every_hook_has_surroundings_of_its_own() {
        let env = "env: {inherit: [HOME], set: {A: '1'}}";
        let source = format!(
            "{{beforeLease: {{script: x, {env}}}, afterLease: {{script: x, user: root}}, \
              repair: {{script: x, workdir: /}}, lifecycle: [{{run: x, exec: /bin/sh, {env}}}], \
              quarantineAfter: 0}}"
        );
        let found = read(&source, hooks);
        let expected = Env {
            inherit: Inherit::Only(vec!["HOME".into()]),
            set: [("A".to_owned(), "1".to_owned())].into(),
        };
        assert_eq!(found.before_lease.unwrap().script.env, expected);
        let after = found.after_lease.unwrap().hook.script;
        assert_eq!((after.user.as_deref(), after.env), (Some("root"), Env::default()));
        let repair = found.repair.unwrap().script;
        assert_eq!((repair.workdir, repair.form), (Some("/".into()), Form::TextOrFile));
        let [lifecycle] = &found.lifecycle[..] else { panic!("{:?}", found.lifecycle) };
        assert_eq!((&lifecycle.script.env, lifecycle.script.form), (&expected, Form::Text));
        assert_eq!(lifecycle.script.exec.as_deref(), Some("/bin/sh"));
        assert_eq!(found.quarantine_after, 0);
        let all = read("repair: {script: x, env: {inherit: all}}", hooks).repair.unwrap();
        assert_eq!(all.script.env.inherit, Inherit::All);
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
