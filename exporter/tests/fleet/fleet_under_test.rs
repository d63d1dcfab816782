//! A process with several exporters.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The longest that anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a state is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A directory with configurations, and a process that runs all of them.
pub(crate) struct Fleet {
    directory: TempDir,
    process: Option<Child>,
}

impl Fleet {
    /// Exporters of these names, and what else there is to say about each in YAML. Their controller
    /// can't be reached, which is no failure of theirs.
    pub(crate) fn of(exporters: &[(&str, &str)]) -> Self {
        let fleet = Self { directory: tempfile::tempdir().unwrap(), process: None };
        fs::create_dir(fleet.path("exporters")).unwrap();
        for (name, body) in exporters {
            fleet.configure(name, body);
        }
        fleet
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn configure(&self, name: &str, body: &str) {
        let yaml = format!(
            "apiVersion: jumpstarter.dev/v1alpha1\n\
             kind: ExporterConfig\n\
             metadata: {{namespace: default, name: {name}}}\n\
             endpoint: '127.0.0.1:9'\n\
             token: a.b.c\n\
             tls: {{insecure: true}}\n\
             export: {{power: {{type: jumpstarter_driver_power.driver.MockPower}}}}\n\
             {body}"
        );
        // At once, as a careful editor does it.
        let new = self.path("new");
        fs::write(&new, yaml).unwrap();
        fs::rename(new, self.path(&format!("exporters/{name}.yaml"))).unwrap();
    }

    /// Makes the state of an exporter one that can't be used.
    pub(crate) fn damage(&self, name: &str) {
        let directory = self.path(&format!("state/exporters/{name}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("store.sqlite3"), "no database\n".repeat(100)).unwrap();
    }

    pub(crate) fn repair(&self, name: &str) {
        fs::remove_file(self.path(&format!("state/exporters/{name}/store.sqlite3"))).unwrap();
    }

    pub(crate) fn start(self) -> Self {
        self.start_with(&[])
    }

    pub(crate) fn start_with(mut self, options: &[&str]) -> Self {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(&["--log-format", "json", "run", "--all"]);
        command.args(options);
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.process = Some(process);
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
        command.args(arguments).arg("--state-dir").arg(self.path("state"));
        command.env("JMP_CLIENT_CONFIG_HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn hilt(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Waits until `hilt status` has a line that begins so.
    pub(crate) async fn shows(&self, wanted: &str) {
        let mut said = String::new();
        let deadline = Instant::now() + DEADLINE;
        while !said.lines().any(|line| line.starts_with(wanted)) {
            assert!(
                Instant::now() < deadline,
                "{wanted} is never said, but:\n{said}{}",
                self.log()
            );
            sleep(POLL).await;
            said = String::from_utf8(self.hilt(&["status"]).stdout).unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How many lines of an exporter's log have this in them.
    pub(crate) fn count(&self, exporter: &str, text: &str) -> usize {
        let span = format!("\"name\":\"{exporter}\"");
        self.log().lines().filter(|line| line.contains(&span) && line.contains(text)).count()
    }

    /// Waits until an exporter has said this so often.
    pub(crate) async fn says(&self, exporter: &str, text: &str, times: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.count(exporter, text) < times {
            assert!(Instant::now() < deadline, "{exporter} never says {text}:\n{}", self.log());
            sleep(POLL).await;
        }
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() >= deadline {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("it does not end:\n{}", self.log());
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }
}
