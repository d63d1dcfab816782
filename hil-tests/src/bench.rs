//! The bench of one trial: a directory of its own, an environment that knows nothing of the user's,
//! and every process that the trial started, with its output.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{ChildStdin, Command};
use tokio::time::Instant;

use crate::known::Known;
use crate::prepared::Prepared;
use crate::process::{Process, Transcript, patiently};
use crate::subject::Subject;

/// Marks every process of a bench, and their descendants, hooks included: the environment is
/// inherited even where the parent, the process group and the session are not.
const MARK: &str = "HIL_BENCH";

/// How often a file or a port is looked at again while a trial waits for it.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// The bench of one trial. Dropping it ends every process that was started on it.
#[derive(Debug)]
pub(crate) struct Bench {
    subject: Subject,
    known: &'static [Known],
    met: Mutex<Vec<Known>>,
    prepared: Prepared,
    directory: TempDir,
    transcripts: Mutex<Vec<Transcript>>,
}

impl Bench {
    pub(crate) fn new(
        subject: Subject,
        known: &'static [Known],
        prepared: Prepared,
    ) -> Result<Self> {
        // A short path: Unix sockets lie below it, and theirs may have 108 bytes.
        let directory = tempfile::Builder::new()
            .prefix("hil-")
            .tempdir()
            .context("making the directory of a bench")?;
        for name in ["home", "run", "tmp", "state"] {
            fs::create_dir(directory.path().join(name))
                .with_context(|| format!("making {name} on the bench"))?;
        }
        Ok(Self {
            subject,
            known,
            met: Mutex::default(),
            prepared,
            directory,
            transcripts: Mutex::default(),
        })
    }

    /// The exporter under test.
    pub(crate) const fn subject(&self) -> Subject {
        self.subject
    }

    /// Whether the subject is the reference and does here what [`Known`] says instead of what is
    /// right.
    ///
    /// Only for differences that the case is listed with.
    pub(crate) fn differs(&self, difference: Known) -> bool {
        let listed = self.known.contains(&difference);
        if listed {
            self.met.lock().unwrap_or_else(PoisonError::into_inner).push(difference);
        }
        listed
    }

    /// A case that is listed with a difference and never asks for it claims one that it doesn't
    /// check.
    pub(crate) fn every_difference_was_met(&self) -> Result<()> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for difference in self.known {
            ensure!(
                met.contains(difference),
                "the case is listed with {difference:?} and did not check it"
            );
        }
        Ok(())
    }

    /// The files that the suite was prepared with.
    pub(crate) const fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The path of `name` on the bench. Every process of the bench runs in this directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file on the bench.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Reads a file of the bench.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Waits for a file to be put on the bench, and reads it. Its writer has to rename it into
    /// place.
    pub(crate) async fn file(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        let there = async {
            loop {
                match fs::read_to_string(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        tokio::time::sleep(POLL).await;
                    }
                    result => return result,
                }
            }
        };
        patiently(&format!("the file {name}"), there)
            .await?
            .with_context(|| format!("reading {}", path.display()))
    }

    /// A command in the environment of the bench: the reference's programs first on the path, homes
    /// and temporary files on the bench, text that is not cut to the width of a terminal.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.directory.path()).env_clear();
        command.env(MARK, self.directory.path());
        command.env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", self.prepared.reference.display()),
        );
        for (name, directory) in [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")] {
            command.env(name, self.path(directory));
        }
        command.env("PYTHONPATH", &self.prepared.scripts);
        command.envs([("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
        command.envs([("LANG", "C.UTF-8"), ("NO_COLOR", "1"), ("COLUMNS", "1000")]);
        command
    }

    /// Starts a process whose output belongs into the report of a failure.
    pub(crate) fn start(&self, title: &str, command: Command) -> Result<Process> {
        Process::start(title, command).inspect(|process| self.watch(process))
    }

    /// The same, with a pipe to the process.
    pub(crate) fn start_with_input(
        &self,
        title: &str,
        command: Command,
    ) -> Result<(Process, ChildStdin)> {
        Process::start_with_input(title, command).inspect(|(process, _)| self.watch(process))
    }

    fn watch(&self, process: &Process) {
        self.transcripts.lock().unwrap_or_else(PoisonError::into_inner).push(process.transcript());
    }

    /// What every process of the bench printed.
    pub(crate) fn report(&self) -> String {
        let transcripts = self.transcripts.lock().unwrap_or_else(PoisonError::into_inner);
        transcripts.iter().map(ToString::to_string).collect()
    }

    /// The living processes that carry the mark of this bench.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.directory.path().display());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                // That of a zombie is empty, that of a process that has gone is not there.
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A process can start another one while the list is read, so it is read again until it is
        // empty.
        let give_up = Instant::now() + Duration::from_secs(10);
        while Instant::now() < give_up {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                // It may have ended by itself since, and then there is nothing left to do.
                kill(pid, Signal::SIGKILL).ok();
            }
            std::thread::yield_now();
        }
    }
}
