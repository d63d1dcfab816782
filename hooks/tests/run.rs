//! Real scripts in real shells.
#![cfg(test)]

use std::fs;
use std::os::fd::IntoRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hooks::lines::LONGEST_LINE;
use hooks::{Ending, Environment, Outcome, Run, Script, Stop, User};
use tokio::sync::Notify;
use tokio::time;
use uuid::Uuid;

/// A run of `script` as a hook without settings would do it.
fn hook(script: &str, exec: Option<&str>) -> Run {
    Run {
        id: Uuid::new_v4(),
        invocation: Script::detect(script).invocation(exec, "python3").unwrap(),
        environment: Environment::noninteractive(std::env::vars_os()),
        workdir: std::env::current_dir().unwrap(),
        user: None,
        limit: Duration::from_secs(30),
        grace: Duration::from_millis(300),
    }
}

async fn run(hook: &Run) -> (Outcome, Vec<String>) {
    let mut lines = Vec::new();
    let outcome = hook.run(&mut |line| lines.push(line), &Stop::default()).await;
    assert_eq!(alive(hook.id), 0, "a process of the run is left");
    (outcome, lines)
}

/// How many processes carry the mark of a run and are not zombies.
fn alive(run: Uuid) -> usize {
    let mark = format!("HILT_RUN={run}");
    let marked = |pid: &Path| {
        let environment = fs::read(pid.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(|entry| marked(&entry.path())).count()
}

/// Runs a hook whose time runs out as soon as it has said something.
async fn run_out(hook: &Run) -> (Outcome, Vec<String>) {
    let is_ready = Notify::new();
    let mut lines = Vec::new();
    let mut sink = |line| {
        lines.push(line);
        is_ready.notify_one();
    };
    let pass = async {
        is_ready.notified().await;
        // Only for a moment: a clock that stood still would leave processes no time to end.
        time::pause();
        time::advance(hook.limit).await;
        time::resume();
    };
    let stop = Stop::default();
    let (outcome, ()) = tokio::join!(hook.run(&mut sink, &stop), pass);
    assert_eq!(alive(hook.id), 0, "a process of the run is left");
    (outcome, lines)
}

#[tokio::test]
async fn a_script_is_heard_line_by_line_and_its_exit_code_is_its_own() {
    let (outcome, lines) = run(&hook("echo out; echo err >&2; exit 3", None)).await;
    assert!(matches!(outcome.ending, Ending::Exited(3)), "{outcome:?}");
    assert!(!outcome.is_success());
    assert_eq!(lines, ["out", "err"]);
    assert!(outcome.leftovers.is_empty() && outcome.survivors.is_empty());
}

#[tokio::test]
async fn the_exec_field_chooses_the_interpreter() {
    let (outcome, lines) = run(&hook("[[ -t 1 ]] && echo $BASH", Some("/bin/bash"))).await;
    assert!(outcome.is_success());
    assert_eq!(lines, ["/bin/bash"]);
}

#[tokio::test]
async fn a_python_file_runs_in_python() {
    let file = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    fs::write(&file, "import sys\nprint(sys.stdout.isatty(), flush=True)\n").unwrap();
    let (outcome, lines) = run(&hook(file.path().to_str().unwrap(), None)).await;
    assert!(outcome.is_success());
    assert_eq!(lines, ["True"]);
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit_code() {
    for signal in [9, 40] {
        let (outcome, _) = run(&hook(&format!("kill -{signal} $$"), None)).await;
        assert!(
            matches!(outcome.ending, Ending::Signaled(found) if found == signal),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn lines_arrive_while_the_script_runs() {
    let hook = hook("echo first; read -r answer; echo never", None);
    let stop = Stop::default();
    let mut lines = Vec::new();
    let outcome = hook
        .run(
            &mut |line| {
                lines.push(line);
                stop.asked.cancel();
            },
            &stop,
        )
        .await;
    assert!(matches!(outcome.ending, Ending::Cancelled), "{outcome:?}");
    assert_eq!(lines, ["first"]);
}

#[tokio::test]
async fn an_unfinished_line_is_passed_on_after_a_moment() {
    let hook = hook("printf 'password: '; exec sleep 30", None);
    let stop = Stop::default();
    let mut lines = Vec::new();
    hook.run(
        &mut |line| {
            lines.push(line);
            stop.asked.cancel();
        },
        &stop,
    )
    .await;
    assert_eq!(lines, ["password:"]);
}

#[tokio::test]
async fn no_line_of_a_burst_is_lost() {
    let (outcome, lines) = run(&hook("seq 1 20000", None)).await;
    assert!(outcome.is_success());
    let expected: Vec<_> = (1..=20000).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_script_may_close_its_terminal_and_go_on() {
    let (outcome, lines) =
        run(&hook("echo before; exec >/dev/null 2>&1 </dev/null; sleep 0.2; exit 4", None)).await;
    assert!(matches!(outcome.ending, Ending::Exited(4)), "{outcome:?}");
    assert_eq!(lines, ["before"]);
}

#[tokio::test]
async fn the_time_limit_ends_the_whole_tree() {
    let script = "sleep 1000 & setsid sleep 1001 & \
                  (setsid sh -c 'sleep 1002 & echo ready; sleep 1003' &) ; \
                  nohup sleep 1004 >/dev/null 2>&1 & wait";
    let (outcome, _) = run_out(&hook(script, None)).await;
    assert!(matches!(outcome.ending, Ending::TimedOut), "{outcome:?}");
    assert!(outcome.survivors.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed() {
    let script = "trap '' TERM HUP; echo ready; while :; do sleep 1000; done";
    let hook = hook(script, None);
    let (outcome, lines) = run_out(&hook).await;
    assert!(matches!(outcome.ending, Ending::TimedOut), "{outcome:?}");
    assert_eq!(lines, ["ready"]);
    assert!(outcome.duration >= hook.limit + hook.grace, "it had its time to end");
    assert!(outcome.survivors.is_empty());
}

#[tokio::test]
async fn a_stopped_process_is_ended_too() {
    // It is not killed, but goes on and sees that it should end.
    let grace = Duration::from_secs(1000);
    let stopped = Run { grace, ..hook("echo ready; kill -STOP $$", None) };
    let end = time::timeout(Duration::from_secs(500), run_out(&stopped));
    let (outcome, _) = end.await.expect("it sees that it should end");
    assert!(matches!(outcome.ending, Ending::TimedOut), "{outcome:?}");
}

#[tokio::test]
async fn a_daemon_left_by_a_successful_script_is_ended_and_named() {
    // The script waits until its daemon has left the session, or its own end would end it, too.
    let script = "up=$(mktemp); setsid sh -c \"echo > $up; exec sleep 1000\" >/dev/null 2>&1 & \
                  until [ -s $up ]; do :; done; rm $up";
    let (outcome, _) = run(&hook(script, None)).await;
    assert!(outcome.is_success());
    assert_eq!(outcome.leftovers.len(), 1, "{outcome:?}");
    assert!(outcome.survivors.is_empty());
}

#[tokio::test]
async fn a_script_that_forks_in_a_loop_is_ended() {
    // Bounded by what the shell can fork in the time, and by its own count.
    let script = "i=0; echo ready; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; wait";
    let (outcome, _) = run_out(&hook(script, None)).await;
    assert!(matches!(outcome.ending, Ending::TimedOut), "{outcome:?}");
    assert!(outcome.survivors.is_empty());
}

#[tokio::test]
async fn dropping_a_run_ends_its_processes() {
    let hook = hook("echo ready; sleep 1000 & sleep 1001", None);
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let mut ready = Some(ready);
    let mut sink = |_| {
        ready.take().map(|ready| ready.send(()));
    };
    let stop = Stop::default();
    tokio::select! {
        _ = hook.run(&mut sink, &stop) => panic!("the run ended by itself"),
        _ = is_ready => {}
    }
    // The kill is sent before the drop returns; the kernel needs a moment to carry it out.
    let gone = async {
        while alive(hook.id) > 0 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(30), gone).await.expect("the processes are ended");
}

#[tokio::test]
async fn a_killed_run_gets_no_grace() {
    let hook = Run {
        grace: Duration::from_secs(1000),
        ..hook("trap '' TERM; echo ready; while :; do sleep 1000; done", None)
    };
    let stop = Stop::default();
    let outcome = hook
        .run(
            &mut |_| {
                stop.asked.cancel();
                stop.killed.cancel();
            },
            &stop,
        )
        .await;
    assert!(matches!(outcome.ending, Ending::Cancelled), "{outcome:?}");
    assert!(outcome.survivors.is_empty());
    assert_eq!(alive(hook.id), 0);
}

#[tokio::test]
async fn a_script_sees_its_environment_and_nothing_else() {
    let mut hook = hook("env", None);
    hook.environment = Environment::noninteractive([("PATH", "/usr/bin:/bin"), ("PS1", "$ ")]);
    hook.environment.set("LEASE_NAME", "lease-1");
    let (_, lines) = run(&hook).await;
    for expected in [
        "TERM=dumb",
        "DEBIAN_FRONTEND=noninteractive",
        "GIT_TERMINAL_PROMPT=0",
        "LEASE_NAME=lease-1",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} in {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("PS1=")));
}

#[tokio::test]
async fn a_script_runs_in_its_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    let hook = Run { workdir: directory.path().into(), ..hook("pwd", None) };
    assert_eq!(run(&hook).await.1, [fs::canonicalize(directory.path()).unwrap().to_str().unwrap()]);
}

#[tokio::test]
async fn a_script_has_the_rights_of_its_user_and_no_others() {
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let name = if own.uid.is_root() { "nobody" } else { own.name.as_str() };
    let user = User::find(name).unwrap();
    let mut hook =
        hook("id -un; id -ru; echo $HOME; echo shown > /dev/stderr; cat < /dev/tty", None);
    hook.workdir = "/".into();
    hook.environment.login(&user);
    let expected = [name.to_owned(), user.uid.to_string(), user.home.display().to_string()];
    hook.user = Some(user);
    let stop = Stop::default();
    let mut lines = Vec::new();
    let mut sink = |line| {
        lines.push(line);
        if lines.len() == 4 {
            // It could open its terminal and waits for input that never comes.
            stop.asked.cancel();
        }
    };
    let outcome = hook.run(&mut sink, &stop).await;
    assert!(matches!(outcome.ending, Ending::Cancelled), "{outcome:?} {lines:?}");
    assert_eq!(lines[..3], expected);
    assert_eq!(lines[3], "shown");
}

#[tokio::test]
async fn nothing_but_the_terminal_is_inherited() {
    let (reader, _writer) = std::io::pipe().unwrap();
    // Unlike the pipe itself, the duplicate stays open across an exec.
    let number = nix::unistd::dup(reader).unwrap().into_raw_fd();
    let (outcome, _) = run(&hook(&format!("! [ -e /proc/self/fd/{number} ]"), None)).await;
    assert!(outcome.is_success(), "{outcome:?}");
}

#[tokio::test]
async fn the_terminal_is_the_sessions_own() {
    let (_, lines) = run(&hook("ps -o tty= -p $$; tty", None)).await;
    assert_eq!(format!("/dev/{}", lines[0]), lines[1]);
}

#[tokio::test]
async fn a_flood_is_heard_to_its_end_and_needs_no_room() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let line = "x".repeat(1023);
    let hook = hook(
        &format!("yes {line} | head -c {LENGTH}; head -c {LENGTH} /dev/zero | tr '\\0' y"),
        None,
    );
    let (mut lines, mut bytes, mut longest) = (0_usize, 0, 0);
    let mut sink = |line: String| {
        lines += 1;
        bytes += line.len();
        longest = longest.max(line.len());
    };
    let outcome = hook.run(&mut sink, &Stop::default()).await;
    assert!(outcome.is_success(), "{outcome:?}");
    // What has no line ends is cut into lines that fit into a message.
    assert_eq!(bytes, LENGTH / 1024 * 1023 + LENGTH);
    assert!(lines >= LENGTH / 1024 + LENGTH / LONGEST_LINE);
    assert_eq!(longest, LONGEST_LINE);
}

#[tokio::test]
async fn what_is_no_text_is_replaced() {
    let (outcome, lines) = run(&hook("printf 'a\\377\\376b\\0c\\033[1m\\n'", None)).await;
    assert!(outcome.is_success());
    assert_eq!(lines, ["a\u{fffd}\u{fffd}b\0c\u{1b}[1m"]);
    let (outcome, _) = run(&hook("head -c 1000000 /dev/urandom", None)).await;
    assert!(outcome.is_success());
}

/// A script of its own in a directory of its own.
fn script_file(content: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hook.sh");
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[tokio::test]
async fn a_script_that_replaces_itself_counts_from_the_next_run_on() {
    let (_directory, path) =
        script_file("echo 'echo new' > $0.new; mv $0.new $0; echo old; echo still old");
    assert_eq!(run(&hook(&path, None)).await.1, ["old", "still old"]);
    assert_eq!(run(&hook(&path, None)).await.1, ["new"]);
}

#[tokio::test]
async fn a_script_that_is_deleted_while_it_runs_comes_to_its_end() {
    let (_directory, path) = script_file("rm $0; echo deleted; sh -c 'echo still here'");
    let (outcome, lines) = run(&hook(&path, None)).await;
    assert!(outcome.is_success());
    assert_eq!(lines, ["deleted", "still here"]);
    // The next run takes the path for a command.
    let (outcome, lines) = run(&hook(&path, None)).await;
    assert!(matches!(outcome.ending, Ending::Exited(127)), "{outcome:?}");
    assert!(lines[0].contains("not found"), "{lines:?}");
}

#[tokio::test]
async fn two_runs_of_one_script_are_two_runs() {
    let (_directory, path) = script_file("echo begin $LEASE_NAME; sleep 0.2; echo end $LEASE_NAME");
    let named = |name: &str| {
        let mut hook = hook(&path, None);
        hook.environment.set("LEASE_NAME", name);
        hook
    };
    let (one, two) = (named("one"), named("two"));
    let heard = async |hook: &Run| {
        let mut lines = Vec::new();
        let outcome = hook.run(&mut |line| lines.push(line), &Stop::default()).await;
        assert!(outcome.is_success() && outcome.leftovers.is_empty(), "{outcome:?}");
        lines
    };
    let (first, second) = tokio::join!(heard(&one), heard(&two));
    assert_eq!(
        (first, second),
        (vec!["begin one".into(), "end one".into()], vec!["begin two".into(), "end two".into()])
            as (Vec<String>, Vec<String>)
    );
}

/// The error of a script that can't be started.
async fn start_error(hook: &Run) -> String {
    let (outcome, _) = run(hook).await;
    let Ending::NotStarted(error) = outcome.ending else { panic!("it ran: {outcome:?}") };
    error.to_string()
}

#[tokio::test]
async fn an_interpreter_that_cannot_run_is_named_with_the_reason() {
    assert_eq!(
        start_error(&hook("true", Some("/opt/no/such/shell"))).await,
        "interpreter '/opt/no/such/shell' does not exist; install it or correct `exec`"
    );
    assert_eq!(
        start_error(&hook("true", Some("no-such-shell"))).await,
        "interpreter 'no-such-shell' is not in PATH; install it or give its full path in `exec`"
    );
    assert_eq!(
        start_error(&hook("true", Some("/tmp"))).await,
        "interpreter '/tmp' is a directory; name a program in `exec`"
    );

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("interpreter");
    let interpreter = file.to_str().unwrap();
    // By another process: the kernel does not run a file that somebody may still write to, and a process
    // that another test is starting just now has what this one has open.
    let write = |content: &str, mode: &str| {
        let script = "printf %s \"$1\" > \"$2\" && chmod \"$3\" \"$2\"";
        let arguments = ["-c", script, "sh", content, interpreter, mode];
        assert!(Command::new("sh").args(arguments).status().unwrap().success());
    };
    write("#!/bin/sh\n", "644");
    assert_eq!(
        start_error(&hook("true", Some(interpreter))).await,
        format!("interpreter '{interpreter}' is not executable; make it so with chmod +x")
    );
    write("not a program", "755");
    assert_eq!(
        start_error(&hook("true", Some(interpreter))).await,
        format!(
            "interpreter '{interpreter}' has an unknown format: \
             neither a program of this machine nor a #! script"
        )
    );
    write("#!/opt/no/such/shell\n", "755");
    assert_eq!(
        start_error(&hook("true", Some(interpreter))).await,
        format!(
            "interpreter '{interpreter}' is a script for '/opt/no/such/shell', which does not exist"
        )
    );
}

#[tokio::test]
async fn a_missing_working_directory_is_named() {
    let hook = Run { workdir: "/no/such/directory".into(), ..hook("true", None) };
    assert_eq!(start_error(&hook).await, "working directory /no/such/directory does not exist");
}
