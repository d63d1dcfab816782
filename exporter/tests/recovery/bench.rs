//! A bench whose exporter is a process of its own, so that it can be killed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use exporter::store::{Filter, History, Run, RunStatus, fault};
use exporter::wire::exporter_service_client::ExporterServiceClient;
use exporter::wire::{EndSessionRequest, ExporterStatus, GetStatusRequest, GetStatusResponse};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

/// The longest that anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a state is looked at. The exporter needs the processor more than the one who waits.
pub(crate) const POLL: Duration = Duration::from_millis(2);

/// What outlives the exporter's process.
pub(crate) struct Bench {
    directory: TempDir,
    port: u16,
}

/// A running exporter.
pub(crate) struct Exporter {
    child: Child,
    port: u16,
    said: PathBuf,
}

impl Bench {
    /// A bench with this configuration, of which `$DIR` is the directory.
    pub(crate) fn new(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bench = Self { directory, port: free_port() };
        bench.configure(configuration);
        bench
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, configuration: &str) {
        let text = format!(
            "apiVersion: jumpstarter.dev/v1alpha1\n\
             kind: ExporterConfig\n\
             metadata: {{namespace: default, name: bench}}\n\
             {}",
            self.filled(configuration)
        );
        // At once, as a careful editor does it.
        let new = self.file("exporter.yaml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file("exporter.yaml")).unwrap();
    }

    /// A text in which `$DIR` is the directory.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("$DIR", self.directory.path().to_str().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The lines of a file that hooks write; none if it isn't there.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file that hooks write ends in this line.
    pub(crate) async fn written(&self, name: &str, last: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.lines(name).last().map(String::as_str) != Some(last) {
            assert!(Instant::now() < deadline, "{name} never ends in {last}");
            sleep(POLL).await;
        }
    }

    /// Starts the exporter, which is to end at this fault point.
    pub(crate) fn start(&self, fault_point: Option<&str>) -> Exporter {
        let mut command = self.run();
        if let Some(point) = fault_point {
            command.env(fault::VARIABLE, point);
        }
        self.spawn(command)
    }

    /// The command that runs the exporter.
    pub(crate) fn run(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
        command
            .args(["run", "--tls-grpc-insecure", "--exporter-config"])
            .arg(self.file("exporter.yaml"))
            .args(["--tls-grpc-listener", &format!("127.0.0.1:{}", self.port)])
            .arg("--state-dir")
            .arg(self.file("state"));
        command
    }

    /// Starts the exporter by that command, or one made of it.
    pub(crate) fn spawn(&self, mut command: Command) -> Exporter {
        let said = self.file("exporter.log");
        let log = fs::File::options().create(true).append(true).open(&said).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Exporter { child: command.spawn().unwrap(), port: self.port, said }
    }

    /// A `hilt` command about this bench.
    pub(crate) fn hilt(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hilt"));
        command.args(arguments).arg("--state-dir").arg(self.file("state")).output().unwrap()
    }

    /// Waits until `hilt status` says this. Nobody has to connect to the bench for it.
    pub(crate) async fn shows(&self, wanted: &str) {
        let deadline = Instant::now() + DEADLINE;
        let says = || String::from_utf8(self.hilt(&["status"]).stdout).unwrap();
        while !says().contains(wanted) {
            assert!(Instant::now() < deadline, "it is never {wanted}");
            sleep(POLL).await;
        }
    }

    /// Every run on record, the first to have started first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let directory = self.file("state/exporters/bench");
        let mut runs = History::open(&directory).unwrap().runs(&Filter::default()).unwrap();
        runs.sort_by_key(|run| run.begun.started);
        runs
    }

    /// How many runs of an event there are on record, and how many of them succeeded.
    pub(crate) fn count(&self, event: &str) -> (usize, usize) {
        let runs = self.runs();
        let of_event = || runs.iter().filter(|run| run.begun.event.word() == event);
        (of_event().count(), of_event().filter(|run| is_success(run)).count())
    }
}

/// A port that nobody listens on, and that the system gives to nobody who asks for any.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let next = || NEXT.fetch_add(1, Ordering::Relaxed);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(next).find(is_free).unwrap()
}

/// Whether a run did what it should.
pub(crate) fn is_success(run: &Run) -> bool {
    run.ended.as_ref().is_some_and(|ended| ended.status == RunStatus::Success)
}

impl Exporter {
    /// `j`, as a client of this exporter.
    pub(crate) fn j(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_j"));
        command.args(arguments).env("JUMPSTARTER_HOST", format!("127.0.0.1:{}", self.port));
        command.env("JMP_GRPC_INSECURE", "1");
        command
    }

    /// Where it serves clients.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// A client of a lease that is ready. While it is kept, somebody has the bench.
    pub(crate) async fn in_use(&mut self) -> ExporterServiceClient<Channel> {
        self.wait_for(ExporterStatus::LeaseReady).await;
        let mut client = self.client().await.expect("the exporter is running");
        client.get_status(GetStatusRequest {}).await.unwrap();
        client
    }

    /// Waits for a status.
    pub(crate) async fn wait_for(&mut self, wanted: ExporterStatus) -> GetStatusResponse {
        self.wait_until(|now| now.status() == wanted).await
    }

    /// Waits for a status of which this is true.
    pub(crate) async fn wait_until(
        &mut self,
        mut is_wanted: impl FnMut(&GetStatusResponse) -> bool,
    ) -> GetStatusResponse {
        let mut client = self.client().await.expect("the exporter is running");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = client.get_status(GetStatusRequest {}).await.unwrap().into_inner();
            if is_wanted(&now) {
                return now;
            }
            assert!(Instant::now() < deadline, "it is still {now:?}; {}", self.said());
            sleep(POLL).await;
        }
    }

    /// Finishes every session until the exporter ends, by itself or at its fault point.
    pub(crate) async fn run_out(mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if let Some(mut client) = self.client().await
                && let Ok(now) = client.get_status(GetStatusRequest {}).await
                && now.into_inner().status() == ExporterStatus::LeaseReady
            {
                client.end_session(EndSessionRequest {}).await.ok();
            }
            sleep(POLL).await;
        }
        panic!("it neither ends nor dies; {}", self.said());
    }

    /// Waits for its end, whoever brings it about.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            sleep(POLL).await;
        }
        panic!("it does not end; {}", self.said());
    }

    /// A client, once the exporter listens; none if it has ended before.
    pub(crate) async fn client(&mut self) -> Option<ExporterServiceClient<Channel>> {
        let address = self.address();
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            let endpoint = Endpoint::from_shared(address.clone()).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                return Some(ExporterServiceClient::new(channel));
            }
            sleep(POLL).await;
        }
        panic!("it never listens; {}", self.said());
    }

    /// Its log, and that of those before it.
    pub(crate) fn said(&self) -> String {
        format!("it said:\n{}", fs::read_to_string(&self.said).unwrap_or_default())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a process was ended by SIGKILL.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

/// Whether a process lives.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
