//! Stand-ins for the programs that the pages' examples call: each notes how it was called.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::bench::Bench;

/// Notes its name and its arguments in `$DIR/called`.
const NOTE: &str = "#!/bin/sh
for argument in \"${0##*/}\" \"$@\"; do printf '<%s>' \"$argument\"; done >> $DIR/called
echo >> $DIR/called
";

/// Writes a program of this name into the bench's directory; `$DIR` in it is the directory.
pub(crate) fn program(bench: &Bench, name: &str, text: &str) {
    let path = bench.file(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bench.filled(text)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

/// The command that runs the exporter in its bench's directory, with stand-ins of these names before
/// the programs of the host.
pub(crate) fn run_with(bench: &Bench, names: &[&str]) -> Command {
    for name in names {
        program(bench, &format!("bin/{name}"), NOTE);
    }
    let mut path = vec![bench.file("bin")];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut command = bench.run();
    command.current_dir(bench.file(".")).env("PATH", std::env::join_paths(path).unwrap());
    command
}
