//! Stand-ins for the programs that the pages' examples call: each notes how it was called.

use std::fs;
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
    // By another process: the kernel does not run a file that somebody may still write to, and a process
    // that another test is starting just now has what this one has open.
    let script = "printf %s \"$1\" > \"$2\" && chmod +x \"$2\"";
    let (text, path) = (bench.filled(text), path.to_str().unwrap());
    let write = Command::new("sh").args(["-c", script, "sh", &text, path]).status();
    assert!(write.unwrap().success());
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
