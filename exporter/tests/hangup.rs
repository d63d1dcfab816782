//! A terminal that is closed takes what was typed there with it.
#![cfg(test)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::Instant;

/// A command whose output is heard, and a directory for all that it leaves behind.
struct Typed {
    directory: TempDir,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Typed {
    /// Types `hilt` and this, where `$DIR` is the directory.
    fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_str().unwrap();
        let configuration = "metadata: {namespace: default, name: bench}\n\
            export: {power: {type: jumpstarter_driver_power.driver.MockPower}}\n";
        fs::write(directory.path().join("bench.yaml"), configuration).unwrap();
        fs::create_dir(directory.path().join("run")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
        command
            .args(arguments.iter().map(|argument| argument.replace("$DIR", dir)))
            .env("XDG_RUNTIME_DIR", directory.path().join("run"))
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { directory, child, output }
    }

    /// Waits until it says this.
    fn hear(&mut self, wanted: &str) {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it never says {wanted}");
        }
    }

    /// Closes its terminal.
    fn hang_up(mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGHUP).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::yield_now(),
                None => {
                    self.child.kill().unwrap();
                    panic!("it goes on");
                }
            }
        };
        let left = fs::read_dir(self.directory.path().join("run")).unwrap();
        assert_eq!(left.count(), 0, "its sockets are gone");
        status
    }
}

#[test]
fn a_shell_ends_with_its_command() {
    let mut shell = Typed::new(&[
        "shell",
        "--exporter-config",
        "$DIR/bench.yaml",
        "--",
        "/bin/sh",
        "-c",
        "echo ready; exec sleep 1000",
    ]);
    shell.hear("ready");
    assert_eq!(shell.hang_up().code(), Some(128 + Signal::SIGHUP as i32));
}

#[test]
fn a_demo_ends_in_good_order() {
    let mut demo = Typed::new(&["demo", "--state-dir", "$DIR/state"]);
    demo.hear("LEASE_READY");
    assert_eq!(demo.hang_up().code(), Some(0));
}
