//! What a hook is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use hooks::{Environment, User, leftovers};

use crate::config::hooks::{Inherit, LifecycleEvent, Script};
use crate::lease::Lease;
use crate::lease::machine::{EndReason, Prepared};
use crate::session::door::Entrance;
use crate::store::HookEvent;

/// Where programs are looked for if nothing else says so.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names that only Hilt gives a meaning: what the exporter itself has of them is about something
/// else.
const OURS: [&str; 12] = [
    "JUMPSTARTER_HOST",
    "JMP_DRIVERS_ALLOW",
    "JMP_MOTD_FILE",
    "LEASE_NAME",
    "CLIENT_NAME",
    "LEASE_END_REASON",
    "BEFORE_LEASE_RESULT",
    "HOOK_EVENT",
    "SKYPILOT_HOOK_EVENT",
    "DRIVER_NAME",
    "DRIVER_VERSION",
    "QUARANTINE_REASON",
];
const OUR_BEGINNINGS: [&str; 2] = ["LEASE_CONTEXT_", "CHEF_HOOK_"];

/// Where hooks run: for whom, and how they reach the devices.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// The lease that the bench has.
    pub lease: Option<Lease>,
    /// The hooks' own way to the devices.
    pub entrance: Option<Entrance>,
}

/// What a hook is told besides the scene, by the variable's name.
pub(super) type Facts = BTreeMap<String, String>;

/// What every hook is told of its event.
pub(super) fn of_event(event: HookEvent) -> Facts {
    let mut facts = Facts::from([("HOOK_EVENT".into(), event.word().into())]);
    match event {
        HookEvent::Exporter(
            LifecycleEvent::Stop | LifecycleEvent::Preemption | LifecycleEvent::Down,
        ) => {
            facts.insert("SKYPILOT_HOOK_EVENT".into(), event.word().into());
        }
        HookEvent::Lease(_) | HookEvent::Driver(_) | HookEvent::Repair => {}
    }
    facts
}

/// What an afterLease hook is told of how its lease went.
pub(super) fn of_parting(reason: EndReason, prepared: Prepared) -> Facts {
    Facts::from([
        ("LEASE_END_REASON".into(), reason.word().into()),
        ("BEFORE_LEASE_RESULT".into(), prepared.word().into()),
    ])
}

/// The environment of a hook: of the exporter's own what the hook inherits, and what it needs to
/// know.
pub(super) fn of_hook(
    own: impl IntoIterator<Item = (OsString, OsString)>,
    script: &Script,
    user: Option<&User>,
    scene: &Scene,
    facts: Facts,
) -> Environment {
    let inherited = own.into_iter().filter(|(name, _)| inherits(&script.env.inherit, name));
    let mut environment = Environment::noninteractive(inherited);
    if let Some(user) = user {
        environment.login(user);
    }
    for (name, value) in &script.env.set {
        environment.set(name, value);
    }
    if let Some(lease) = &scene.lease {
        environment.set("LEASE_NAME", &lease.name);
        environment.set("CLIENT_NAME", &lease.client);
        for (key, value) in &lease.context {
            // Somebody else's text: the system allows no zero byte in it.
            environment.set(context_name(key), value.replace('\0', ""));
        }
    }
    for (name, value) in facts {
        environment.set(name, value);
    }
    let mut path: Vec<_> = scene.entrance.iter().map(|way| way.programs.clone()).collect();
    if let Some(entrance) = &scene.entrance {
        environment.set("JUMPSTARTER_HOST", &entrance.socket);
        // Hooks are the exporter's own: they may use every driver.
        environment.set("JMP_DRIVERS_ALLOW", "UNSAFE");
    }
    let programs = environment.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    path.extend(std::env::split_paths(programs));
    // The session's directory has no colon in its name, and the others come from a PATH.
    if let Ok(path) = std::env::join_paths(path) {
        environment.set("PATH", path);
    }
    environment
}

fn inherits(inherit: &Inherit, name: &OsStr) -> bool {
    // By this one, leftovers are found after a crash.
    if name == leftovers::VARIABLE {
        return true;
    }
    let is_ours = name.to_str().is_some_and(|name| {
        OURS.contains(&name) || OUR_BEGINNINGS.iter().any(|ours| name.starts_with(ours))
    });
    let is_wanted = match inherit {
        Inherit::All => true,
        Inherit::Only(names) => names.iter().any(|wanted| name == wanted.as_str()),
    };
    is_wanted && !is_ours
}

fn context_name(key: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(fit).fold("LEASE_CONTEXT_".to_owned(), |mut name, c| {
        name.push(c);
        name
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::config::hooks::Env;

    fn scene() -> Scene {
        let lease = Lease {
            id: Uuid::nil(),
            name: "lease-1".into(),
            client: "alice".into(),
            context: [("ci.job-id".to_owned(), "7\0".to_owned())].into(),
        };
        Scene { lease: Some(lease), entrance: None }
    }

    fn variables(script: &Script, scene: &Scene, facts: Facts) -> Vec<String> {
        let own = [
            ("PATH", "/bin"),
            ("LEASE_NAME", "another"),
            ("CHEF_HOOK_X", "another"),
            ("PS1", "$ "),
            ("SECRET", "s"),
            ("HILT_PROCESS", "mark"),
        ];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let line = |(name, value): (&OsStr, &OsStr)| {
            format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap())
        };
        of_hook(own, script, None, scene, facts).iter().map(line).collect()
    }

    #[test]
    fn a_hook_is_told_of_its_lease() {
        let facts = of_event(HookEvent::Lease(crate::lease::machine::Phase::Before));
        assert_eq!(
            variables(&Script::default(), &scene(), facts),
            [
                "CLIENT_NAME=alice",
                "DEBIAN_FRONTEND=noninteractive",
                "GIT_TERMINAL_PROMPT=0",
                "HILT_PROCESS=mark",
                "HOOK_EVENT=beforeLease",
                "LEASE_CONTEXT_CI_JOB_ID=7",
                "LEASE_NAME=lease-1",
                "PATH=/bin",
                "SECRET=s",
                "TERM=dumb",
            ]
        );
    }

    #[test]
    fn an_after_lease_hook_is_told_how_it_went() {
        assert_eq!(
            of_parting(EndReason::Failed, Prepared::Warned).into_iter().collect::<Vec<_>>(),
            [
                ("BEFORE_LEASE_RESULT".to_owned(), "warning".to_owned()),
                ("LEASE_END_REASON".to_owned(), "failed".to_owned()),
            ]
        );
    }

    #[test]
    fn exporter_events_have_the_name_that_their_scripts_know() {
        for event in LifecycleEvent::ALL {
            let facts = of_event(HookEvent::Exporter(event));
            assert_eq!(facts["SKYPILOT_HOOK_EVENT"], facts["HOOK_EVENT"]);
        }
        assert!(!of_event(HookEvent::Repair).contains_key("SKYPILOT_HOOK_EVENT"));
    }

    #[test]
    fn a_clean_environment_has_what_was_asked_for_and_what_everything_needs() {
        let set = [("LANG".to_owned(), "C".to_owned()), ("TERM".to_owned(), "vt100".to_owned())];
        let env = Env { inherit: Inherit::Only(vec!["LEASE_NAME".into()]), set: set.into() };
        let script = Script { env, ..Script::default() };
        assert_eq!(
            variables(&script, &Scene::default(), Facts::new()),
            [
                "DEBIAN_FRONTEND=noninteractive",
                "GIT_TERMINAL_PROMPT=0",
                "HILT_PROCESS=mark",
                "LANG=C",
                &format!("PATH={DEFAULT_PATH}"),
                "TERM=vt100",
            ]
        );
    }
}
