//! Files that others can change.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use exporter::config::{Environment, load, load_to_run};

use super::file;

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_configuration_that_others_can_change_is_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(directory.path()).unwrap().join("bench.yaml");
    let shown = path.display();
    let expected = format!(
        "`{shown}` can be changed by others than its owner (mode 0666); \
         use `chmod go-w {shown}`, or set `allowWritableConfig: true`"
    );
    write(&path, &file(""), 0o666);
    let refused = load_to_run(&path, &Environment::default()).unwrap_err();
    assert_eq!(refused.to_string(), format!("{shown}:1:1: {expected}"));
    let warnings = load(&path, &Environment::default()).unwrap().warnings;
    assert_eq!(warnings.to_string(), format!("{shown}:1:1: warning: {expected}"));

    write(&path, &file("allowWritableConfig: true"), 0o666);
    let warnings = load_to_run(&path, &Environment::default()).unwrap().warnings;
    assert_eq!(warnings.to_string(), "");
    write(&path, &file(""), 0o600);
    assert!(load_to_run(&path, &Environment::default()).is_ok());
}

#[test]
fn a_script_that_others_can_change_is_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let directory = fs::canonicalize(directory.path()).unwrap();
    let (path, script) = (directory.join("bench.yaml"), directory.join("hook.sh"));
    let shown = script.display();
    write(&script, "true", 0o620);
    let hooks = format!(
        "hooks:\n  beforeLease: {{script: {shown}}}\n  lifecycle: [{{run: ./hook.sh, workdir: {}}}]\n",
        directory.display()
    );
    write(&path, &file(&hooks), 0o600);
    let refused = load_to_run(&path, &Environment::default()).unwrap_err().to_string();
    let expected = format!("`{shown}` can be changed by others than its owner (mode 0620); ");
    let places = ["3:25: hooks.beforeLease.script", "4:21: hooks.lifecycle[0].run"];
    assert_eq!(refused.lines().count(), places.len(), "{refused}");
    for (line, place) in refused.lines().zip(places) {
        assert!(line.starts_with(&format!("{}:{place}: {expected}", path.display())), "{line}");
    }
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    assert!(load_to_run(&path, &Environment::default()).is_ok());
}
