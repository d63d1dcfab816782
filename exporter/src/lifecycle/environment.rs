//! What a hook is told.

use std::ffi::OsString;
use std::path::PathBuf;

use hooks::Environment;

use crate::lease::Lease;
use crate::lease::machine::Phase;

/// Where a lease's hooks run.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The lease.
    pub lease: Lease,
    /// The hook's own way to the devices.
    pub socket: PathBuf,
    /// The directory in which a hook finds `j`.
    pub programs: PathBuf,
    /// The file into which a beforeLease hook may write a message for the client.
    pub motd_file: PathBuf,
}

/// The environment of a hook: the exporter's own, and what the hook needs to know.
pub(super) fn of_hook(
    own: impl IntoIterator<Item = (OsString, OsString)>,
    phase: Phase,
    scene: &Scene,
) -> Environment {
    let mut environment = Environment::noninteractive(own);
    environment.set("JUMPSTARTER_HOST", &scene.socket);
    // Hooks are the exporter's own: they may use every driver.
    environment.set("JMP_DRIVERS_ALLOW", "UNSAFE");
    environment.set("LEASE_NAME", &scene.lease.name);
    environment.set("CLIENT_NAME", &scene.lease.client);
    environment.set("HOOK_EVENT", phase.event());
    match phase {
        Phase::Before => environment.set("JMP_MOTD_FILE", &scene.motd_file),
        Phase::After => environment.remove("JMP_MOTD_FILE"),
    }
    let mut path = vec![scene.programs.clone()];
    if let Some(own) = environment.get("PATH") {
        path.extend(std::env::split_paths(own));
    }
    // The session's directory has no colon in its name, and the others come from a PATH.
    if let Ok(path) = std::env::join_paths(path) {
        environment.set("PATH", path);
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(phase: Phase) -> Vec<String> {
        let scene = Scene {
            lease: Lease {
                id: uuid::Uuid::nil(),
                name: "lease-1".into(),
                client: "alice".into(),
                context: [].into(),
            },
            socket: "/run/hilt-1/socket".into(),
            programs: "/run/hilt-1/bin".into(),
            motd_file: "/run/hilt-1/motd".into(),
        };
        let own = [("PATH", "/bin"), ("JMP_MOTD_FILE", "/tmp/other"), ("PS1", "$ ")];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let line = |(name, value): (&std::ffi::OsStr, &std::ffi::OsStr)| {
            format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap())
        };
        of_hook(own, phase, &scene).iter().map(line).collect()
    }

    #[test]
    fn a_before_lease_hook_is_told_all_that_the_documentation_lists() {
        assert_eq!(
            variables(Phase::Before),
            [
                "CLIENT_NAME=alice",
                "DEBIAN_FRONTEND=noninteractive",
                "GIT_TERMINAL_PROMPT=0",
                "HOOK_EVENT=beforeLease",
                "JMP_DRIVERS_ALLOW=UNSAFE",
                "JMP_MOTD_FILE=/run/hilt-1/motd",
                "JUMPSTARTER_HOST=/run/hilt-1/socket",
                "LEASE_NAME=lease-1",
                "PATH=/run/hilt-1/bin:/bin",
                "TERM=dumb",
            ]
        );
    }

    #[test]
    fn an_after_lease_hook_has_nobody_to_greet() {
        let variables = variables(Phase::After);
        assert!(variables.iter().all(|line| !line.starts_with("JMP_MOTD_FILE")));
        assert!(variables.contains(&"HOOK_EVENT=afterLease".to_owned()));
    }
}
