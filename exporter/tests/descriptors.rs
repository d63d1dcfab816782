//! More connections than `hilt run` has file descriptors.
#![cfg(test)]

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use exporter::wire::exporter_service_client::ExporterServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

/// The longest that anything may take here.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the exporter gets; it needs about 20 for itself.
const DESCRIPTORS: usize = 64;

/// `hilt run` with few file descriptors. Dropping it kills it.
struct Starved {
    log: Lines<BufReader<ChildStderr>>,
    _process: Child,
    _directory: TempDir,
}

impl Starved {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("exporter.yaml");
        std::fs::write(&config, "metadata: {namespace: default, name: bench}\n").unwrap();
        // Both limits, as the exporter raises the soft one to the hard one.
        let limited = format!("ulimit -n {DESCRIPTORS} && exec \"$@\"");
        let mut process = Command::new("sh")
            .args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_hilt"), "run", "--exporter-config"])
            .arg(config)
            .args(["--tls-grpc-listener", &free_address(), "--tls-grpc-insecure"])
            .args(["--log-format", "text"])
            .env("STATE_DIRECTORY", directory.path())
            .env("XDG_RUNTIME_DIR", directory.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { log, _process: process, _directory: directory }
    }

    /// What follows `text` in the next line of the log that contains it.
    async fn says(&mut self, text: &str) -> String {
        let said = async {
            loop {
                let line = self.log.next_line().await.unwrap().expect("it goes on");
                if let Some((_, rest)) = line.split_once(text) {
                    return rest.trim().to_owned();
                }
            }
        };
        timeout(DEADLINE, said).await.unwrap_or_else(|_| panic!("it never said '{text}'"))
    }
}

/// Where nobody listens at the moment.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn answers(channel: Channel) {
    let report = async { ExporterServiceClient::new(channel).get_report(()).await };
    timeout(DEADLINE, report).await.expect("it answers").unwrap();
}

#[tokio::test]
async fn whoever_is_connected_goes_on_and_others_wait_until_some_leave() {
    let mut exporter = Starved::start();
    let address = exporter.says("listening on ").await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let early = endpoint.connect().await.unwrap();
    answers(early.clone()).await;

    let idle: Vec<_> = (0..2 * DESCRIPTORS)
        .map(|_| TcpStream::connect(&address).expect("the kernel lets it wait"))
        .collect();
    exporter.says("can't accept a connection: ").await;
    answers(early.clone()).await;

    drop(idle);
    answers(timeout(DEADLINE, endpoint.connect()).await.expect("there is room").unwrap()).await;
    answers(early).await;
}
