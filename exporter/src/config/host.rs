//! Files of the host that a configuration names.
//!
//! They are warnings at most: a configuration may be checked on another host than the one that it is
//! for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::unistd::{User, geteuid};

use super::decode::Item;
use super::exposure;

/// Where programs are looked for without a `PATH`, as in the reference.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Warns about a script that looks like the path of a file that isn't there.
pub(super) fn check_script(item: &Item<'_>, script: &str) {
    let script = script.trim();
    if looks_like_a_path(script) && !Path::new(script).is_file() {
        let message = format!("`{script}` is no file here, so that it would run as a command");
        item.warning(message, "check the path");
    }
}

/// Notes who else can change a script's file.
pub(super) fn check_file(item: &Item<'_>, file: &Path) {
    if let Some(exposure) = exposure::of_file(file, geteuid().as_raw()) {
        item.exposed(exposure.message, exposure.hint);
    }
}

/// Warns about an interpreter that isn't there.
pub(super) fn check_interpreter(item: &Item<'_>, program: &str) {
    let path = item.findings.environment.get("PATH").unwrap_or(DEFAULT_PATH.as_ref());
    let is_there = if program.contains('/') {
        is_program(Path::new(program))
    } else {
        std::env::split_paths(path).any(|directory| is_program(&directory.join(program)))
    };
    if !is_there {
        let message = format!("there is no program `{program}` here");
        item.warning(message, "install it, or give the path of an interpreter");
    }
}

/// Warns about a user that isn't there.
pub(super) fn check_user(item: &Item<'_>, name: &str) {
    if !matches!(User::from_name(name), Ok(Some(_))) {
        let message = format!("there is no user `{name}` here");
        item.warning(message, "create the user, or check the name");
    }
}

/// One word with a path's beginning or a script's ending.
fn looks_like_a_path(script: &str) -> bool {
    let is_a_word = !script.contains(|c: char| c.is_whitespace() || ";|&<>()$`\"'\\*?".contains(c));
    is_a_word
        && (["/", "./", "../"].iter().any(|beginning| script.starts_with(beginning))
            || [".sh", ".py"].iter().any(|ending| script.ends_with(ending)))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word() {
        for path in ["/opt/hooks/prepare", "./prepare.sh", "../x", "hooks/prepare.py"] {
            assert!(looks_like_a_path(path), "{path}");
        }
        for command in
            ["", "true", "j power on", "/opt/prepare --all", "./a.sh; ./b.sh", "$HOOKS/a.sh"]
        {
            assert!(!looks_like_a_path(command), "{command}");
        }
    }
}
