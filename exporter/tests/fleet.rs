//! Several exporters in one process.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The longest that anything may take here.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A directory with configurations, and a process that runs all of them.
struct Fleet {
    directory: TempDir,
    process: Option<Child>,
}

impl Fleet {
    /// Exporters of these names, and what else there is to say about each in YAML. Their controller
    /// can't be reached, which is no failure of theirs.
    fn of(exporters: &[(&str, &str)]) -> Self {
        let fleet = Self { directory: tempfile::tempdir().unwrap(), process: None };
        fs::create_dir(fleet.path("exporters")).unwrap();
        for (name, body) in exporters {
            fleet.configure(name, body);
        }
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configure(&self, name: &str, body: &str) {
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
    fn damage(&self, name: &str) {
        let directory = self.path(&format!("state/exporters/{name}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("store.sqlite3"), "no database\n".repeat(100)).unwrap();
    }

    fn repair(&self, name: &str) {
        fs::remove_file(self.path(&format!("state/exporters/{name}/store.sqlite3"))).unwrap();
    }

    fn start(mut self) -> Self {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(&["--log-format", "json", "run", "--all"]);
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.process = Some(process);
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
        command.args(arguments).arg("--state-dir").arg(self.path("state"));
        command.env("JMP_CLIENT_CONFIG_HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    fn hilt(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Waits until `hilt status` has a line that begins so.
    async fn shows(&self, wanted: &str) {
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

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How many lines of an exporter's log have this in them.
    fn count(&self, exporter: &str, text: &str) -> usize {
        let span = format!("\"name\":\"{exporter}\"");
        self.log().lines().filter(|line| line.contains(&span) && line.contains(text)).count()
    }

    /// Waits until an exporter has said this so often.
    async fn says(&self, exporter: &str, text: &str, times: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.count(exporter, text) < times {
            assert!(Instant::now() < deadline, "{exporter} never says {text}:\n{}", self.log());
            sleep(POLL).await;
        }
    }

    async fn ended(mut self) -> ExitStatus {
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

#[tokio::test]
async fn one_that_fails_is_started_again_while_the_others_go_on() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 1000}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.shows("good: AVAILABLE").await;
    fleet.shows("bad: OFFLINE").await;
    fleet.says("bad", "failed, to be started again in ", 3).await;
    fleet.repair("bad");
    fleet.shows("bad: AVAILABLE").await;
    assert_eq!(fleet.count("good", "failed"), 0);
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0), "all has ended well");
}

#[tokio::test]
async fn one_that_is_given_up_is_tried_again_when_somebody_asks() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 2}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.says("bad", "failed 2 times in a row within 60 s of its start, and is given up", 1).await;
    let status = String::from_utf8(fleet.hilt(&["status"]).stdout).unwrap();
    assert!(status.contains("given up after 2 failures; `hilt reload` tries again: "), "{status}");
    assert!(fleet.hilt(&["reload", "bad"]).status.success());
    fleet.says("bad", "and is given up", 2).await;
    fleet.repair("bad");
    fleet.signal(Signal::SIGHUP);
    fleet.shows("bad: AVAILABLE").await;
    fleet.says("good", "was read again", 1).await;
    fleet.shows("good: AVAILABLE").await;
}

#[tokio::test]
async fn what_was_given_up_makes_the_process_end_with_a_failure() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 1}")]);
    fleet.damage("bad");
    let fleet = fleet.start();
    fleet.says("bad", "and is given up", 1).await;
    fleet.shows("good: AVAILABLE").await;
    assert!(fleet.hilt(&["down", "good"]).status.success());
    assert_eq!(fleet.ended().await.code(), Some(1), "nobody is left");
}

#[tokio::test]
async fn an_only_exporter_is_given_up_as_in_the_reference() {
    let fleet = Fleet::of(&[("only", "failureDetection: {maxRapidFailures: 3}")]);
    fleet.damage("only");
    let fleet = fleet.start();
    let log = fleet.path("log");
    fleet.says("only", "failed 3 times in a row within 60 s of its start", 1).await;
    let said = fs::read_to_string(log).unwrap();
    assert_eq!(said.matches("failed, to be started again in ").count(), 2, "{said}");
    assert_eq!(fleet.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_configuration_with_a_mistake_keeps_nobody_else_from_running() {
    let fleet =
        Fleet::of(&[("good", ""), ("bad", "hooks: {beforeLease: {timeout: soon}}")]).start();
    fleet.shows("good: AVAILABLE").await;
    let file = fleet.path("exporters/bad.yaml").display().to_string();
    fleet.says(&file, "hooks.beforeLease.timeout", 1).await;
    fleet.configure("bad", "");
    fleet.signal(Signal::SIGHUP);
    fleet.shows("bad: AVAILABLE").await;
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0));
}

#[tokio::test]
async fn where_every_configuration_has_a_mistake_nothing_runs() {
    let mistake = "hooks: {beforeLease: {timeout: soon}}";
    let run = Fleet::of(&[("a", mistake), ("b", mistake)]).hilt(&["run", "--all"]);
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(said.matches("hooks.beforeLease.timeout: ").count(), 2, "{said}");
}

#[tokio::test]
async fn two_configurations_for_one_exporter_are_refused() {
    let fleet = Fleet::of(&[("a", "")]);
    fs::copy(fleet.path("exporters/a.yaml"), fleet.path("exporters/b.yaml")).unwrap();
    let run = fleet.hilt(&["run", "--all"]);
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        said.contains("b.yaml: metadata.name: another configuration is for the exporter 'a'"),
        "{said}"
    );
}

#[tokio::test]
async fn one_that_goes_for_good_takes_nobody_along() {
    let down = |name: &str| {
        format!("hooks: {{lifecycle: [{{run: 'echo {name} is gone', events: [down]}}]}}")
    };
    let fleet = Fleet::of(&[("a", &down("a")), ("b", &down("b"))]).start();
    fleet.shows("a: AVAILABLE").await;
    fleet.shows("b: AVAILABLE").await;
    assert!(fleet.hilt(&["down", "a"]).status.success());
    fleet.says("a", "a is gone", 1).await;
    fleet.shows("b: AVAILABLE").await;
    assert_eq!(fleet.count("b", "b is gone"), 0);
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(0));
}
