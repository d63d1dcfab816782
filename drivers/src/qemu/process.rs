//! A process that does not outlive its owner, nor the exporter, however that ends.
//!
//! A thread of its own starts the process and waits for it. The kernel kills the process when that
//! thread is gone, and the thread goes only when the process has ended or the exporter dies.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getppid};
use tokio::sync::{oneshot, watch};

use crate::{DriverError, Result};

/// A running process, or one that has ended. Dropping it kills it with all of its group.
#[derive(Debug)]
pub(super) struct Process {
    program: String,
    state: Arc<Mutex<State>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    /// What it says.
    output: PathBuf,
}

#[derive(Debug)]
enum State {
    /// It leads its group. Nobody else can have its id.
    Running(Pid),
    /// It has ended, and its id may be another's by now.
    Ended,
}

impl Process {
    /// Starts a program. What it says goes to the file `output`.
    pub(super) async fn start(
        program: &Path,
        arguments: Vec<std::ffi::OsString>,
        output: PathBuf,
    ) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error| DriverError::io(format!("run {}", program.display()), error);
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).process_group(0);
        let log = File::create(&output).map_err(failed)?;
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        die_with_the_exporter(&mut command);

        let (tell_start, started) = oneshot::channel();
        let (tell_end, ended) = watch::channel(None);
        let watcher = move || watch_over(command, tell_start, &tell_end);
        thread::Builder::new().name(name.clone()).spawn(watcher).map_err(failed)?;
        let gone = || DriverError::Device(format!("{name} was not started: its thread panicked"));
        let state = started.await.map_err(|_| gone())?.map_err(failed)?;
        Ok(Self { program: name, state, ended, output })
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for its end. Cancel safe.
    pub(super) async fn end(&self) {
        // An error means that its thread is gone, and so is it.
        self.ended.clone().wait_for(Option::is_some).await.ok();
    }

    /// Kills it with all of its group; see [`end`](Self::end).
    pub(super) fn kill(&self) {
        match *lock(&self.state) {
            State::Running(leader) => {
                // An error means that nobody is left.
                killpg(leader, Signal::SIGKILL).ok();
            }
            State::Ended => {}
        }
    }

    /// How it has ended, in its own last words.
    pub(super) fn last_words(&self) -> DriverError {
        let said = fs::read_to_string(&self.output).unwrap_or_default();
        let said = said.trim().lines().last().unwrap_or("it said nothing");
        let how = match *self.ended.borrow() {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            None => "is still running".to_owned(),
        };
        DriverError::Device(format!("{} {how}: {said}", self.program))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The life of the thread: starts the process, and stays until it has ended.
fn watch_over(
    mut command: Command,
    tell_start: oneshot::Sender<io::Result<Arc<Mutex<State>>>>,
    tell_end: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // An error means that nobody wants to know any more.
            tell_start.send(Err(error)).ok();
            return;
        }
    };
    let leader = Pid::from_raw(child.id().cast_signed());
    let state = Arc::new(Mutex::new(State::Running(leader)));
    if tell_start.send(Ok(Arc::clone(&state))).is_err() {
        killpg(leader, Signal::SIGKILL).ok();
    }
    // Its id stays its own until it is reaped, which nobody may signal it during.
    while waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR)
    {
    }
    let mut state = lock(&state);
    // What it may have started goes with it.
    killpg(leader, Signal::SIGKILL).ok();
    let status = child.wait();
    *state = State::Ended;
    drop(state);
    match status {
        Ok(status) => drop(tell_end.send(Some(status))),
        Err(error) => tracing::error!("the end of process {leader} was not seen: {error}"),
    }
}

fn die_with_the_exporter(command: &mut Command) {
    let exporter = Pid::this();
    #[expect(unsafe_code, reason = "there is no safe way to have a child die with its parent")]
    // SAFETY: between fork and exec this only makes system calls, which POSIX allows there.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // It may have died before.
            if getppid() == exporter { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::testing::process::{gone, noted};

    async fn shell(script: &str) -> (TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("cd {}; {script}", folder.path().display());
        let output = folder.path().join("output");
        let arguments = vec!["-c".into(), script.into()];
        let process = Process::start(Path::new("/bin/sh"), arguments, output).await.unwrap();
        (folder, process)
    }

    /// What a script has started, once it is there.
    async fn child(folder: &TempDir) -> i32 {
        noted(&folder.path().join("child")).await
    }

    #[tokio::test]
    async fn its_end_is_told_in_its_own_words() {
        let (_folder, process) = shell("echo no such disk >&2; exit 3").await;
        process.end().await;
        assert!(process.has_ended());
        assert_eq!(process.last_words().to_string(), "sh ended with 3: no such disk");
    }

    #[tokio::test]
    async fn dropping_it_ends_all_of_its_group() {
        let (folder, process) = shell("sleep 1000 & echo $! > child; wait").await;
        let child = child(&folder).await;
        drop(process);
        gone(&[child]).await;
    }

    #[tokio::test]
    async fn a_child_that_is_left_over_goes_with_it() {
        let (folder, process) = shell("sleep 1000 & echo $! > child").await;
        process.end().await;
        gone(&[child(&folder).await]).await;
    }

    #[tokio::test]
    async fn what_is_killed_says_so() {
        let (_folder, process) = shell("sleep 1000").await;
        assert!(!process.has_ended());
        process.kill();
        process.end().await;
        assert_eq!(process.last_words().to_string(), "sh was killed by signal 9: it said nothing");
    }

    /// Where the process below writes the id of what it has started.
    const VICTIM: &str = "HILT_TEST_VICTIM";

    /// Does nothing, unless it is started by the test below.
    #[tokio::test]
    async fn victim() {
        let Some(folder) = std::env::var_os(VICTIM) else { return };
        let folder = PathBuf::from(folder);
        let script = format!("echo $$ > {}; sleep 1000", folder.join("child").display());
        let arguments = vec!["-c".into(), script.into()];
        let output = folder.join("output");
        let _process = Process::start(Path::new("/bin/sh"), arguments, output).await.unwrap();
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn it_dies_with_the_exporter() {
        let folder = tempfile::tempdir().unwrap();
        let mut exporter = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "qemu::process::tests::victim"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let id = child(&folder).await;
        exporter.kill().unwrap();
        exporter.wait().unwrap();
        gone(&[id]).await;
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let error = Process::start(Path::new("/nonexistent"), vec![], output).await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)), "{error}");
    }
}
