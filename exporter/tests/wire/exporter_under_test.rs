//! An exporter in this process, and what a test asks of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use exporter::app::{Setup, Standalone};
use exporter::config::{Environment, parse};
use exporter::secret::Secret;
use exporter::session::listener::Listener;
use exporter::shutdown::Shutdown;
use exporter::wire::exporter_service_client::ExporterServiceClient;
use exporter::wire::{
    DriverCallRequest, ExporterStatus, GetStatusRequest, GetStatusResponse, LogSource,
    LogStreamResponse,
};
use prost_types::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// The longest that anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running exporter, and a directory for what its hooks leave behind.
pub(crate) struct ExporterUnderTest {
    pub(crate) directory: TempDir,
    pub(crate) shutdown: Shutdown,
    pub(crate) address: String,
    running: JoinHandle<anyhow::Result<u8>>,
}

pub(crate) type Client = ExporterServiceClient<Channel>;

impl ExporterUnderTest {
    /// Starts an exporter with a power switch and these hooks; `$DIR` in them is the directory.
    pub(crate) async fn start(hooks: &str) -> Self {
        Self::start_with(hooks, None).await
    }

    pub(crate) async fn start_with(hooks: &str, passphrase: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hooks = hooks.replace("$DIR", directory.path().to_str().unwrap());
        let yaml = format!(
            "apiVersion: jumpstarter.dev/v1alpha1\n\
             kind: ExporterConfig\n\
             metadata: {{namespace: default, name: bench}}\n\
             motd: welcome\n\
             export:\n\
             \x20 power: {{type: jumpstarter_driver_power.driver.MockPower}}\n\
             \x20 echo: {{type: jumpstarter_driver_network.driver.EchoNetwork}}\n\
             \x20 flasher: {{type: jumpstarter_driver_opendal.driver.MockFlasher}}\n\
             {hooks}"
        );
        let environment = Environment::of_process();
        let config = parse(Path::new("test.yaml"), yaml.as_bytes(), &environment)
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::default();
        let file = "test.yaml".into();
        let setup = Setup { config, file, exit_on_lease_end: false, state: None };
        let exporter = Standalone::new(setup, &shutdown).unwrap();
        let stop = shutdown.clone();
        let passphrase = passphrase.map(Secret::new);
        #[expect(clippy::disallowed_methods, reason = "the test owns it")]
        let running = tokio::task::spawn(async move {
            exporter.run(Listener::Tcp(listener), passphrase, &stop).await
        });
        Self { directory, shutdown, address, running }
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(self.address.clone()).await
    }

    /// A file in the directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The exit code, once it has stopped.
    pub(crate) async fn exit_code(self) -> u8 {
        timeout(DEADLINE, self.running).await.expect("it stops").unwrap().unwrap()
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) -> u8 {
        self.shutdown.drain.cancel();
        self.exit_code().await
    }
}

/// A client of an address: `http://HOST:PORT` or `unix:PATH`.
pub(crate) async fn connect(address: String) -> Client {
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    ExporterServiceClient::new(channel)
}

/// What a client sees of the status.
pub(crate) async fn status(client: &mut Client) -> GetStatusResponse {
    client.get_status(GetStatusRequest {}).await.unwrap().into_inner()
}

/// Polls the status, as clients do, until it is this one.
pub(crate) async fn wait_for(client: &mut Client, wanted: ExporterStatus) -> GetStatusResponse {
    let poll = async {
        loop {
            let now = status(client).await;
            if now.status() == wanted {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("{wanted:?} never came"))
}

/// Waits until a hook has written this file, and returns what is in it.
pub(crate) async fn written(file: &Path) -> String {
    let poll = async {
        loop {
            match fs::read_to_string(file) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("{} never came", file.display()))
}

/// The uuid of the driver of this name.
pub(crate) async fn driver(client: &mut Client, name: &str) -> String {
    let report = client.get_report(()).await.unwrap().into_inner();
    let is_named = |labels: &std::collections::HashMap<_, _>| {
        labels.get("jumpstarter.dev/name").is_some_and(|label: &String| label == name)
    };
    report.reports.into_iter().find(|report| is_named(&report.labels)).unwrap().uuid
}

/// Calls a driver's method.
pub(crate) async fn call(
    client: &mut Client,
    driver: &str,
    method: &str,
    args: Vec<Value>,
) -> Result<Option<Value>, Status> {
    let request = DriverCallRequest { uuid: driver.into(), method: method.into(), args };
    Ok(client.driver_call(Request::new(request)).await?.into_inner().result)
}

/// The next message of the log that a hook has written.
pub(crate) async fn hook_line(stream: &mut Streaming<LogStreamResponse>) -> (LogSource, String) {
    let next = async {
        loop {
            let message = stream.message().await.unwrap().expect("the log goes on");
            let source = message.source();
            if matches!(source, LogSource::BeforeLeaseHook | LogSource::AfterLeaseHook) {
                return (source, message.message);
            }
        }
    };
    timeout(DEADLINE, next).await.expect("a hook says something")
}
