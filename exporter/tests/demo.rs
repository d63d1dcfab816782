//! The demo, as a newcomer sees it.
#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ends with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        // In good order, so that it takes its sockets with it.
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).ok();
        self.0.wait().ok();
    }
}

#[test]
fn what_it_says_to_try_next_works() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
    command.args(["demo", "--state-dir"]).arg(state.path()).stdout(Stdio::piped());
    let mut demo = Demo(command.spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("The bench stays up.")).unwrap();
    let next: Vec<_> = lines.by_ref().take_while(|line| line != "Ctrl-C ends it.").collect();
    // The next lease has hooks, too.
    lines.find(|line| line.contains("LEASE_READY")).unwrap();
    let typed = |wanted: &str| next.iter().find(|line| line.contains(wanted)).unwrap();
    let script = format!("{}\n{}", typed("export "), typed("/j power read"));
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("voltage="), "{script}: {text}");
}
