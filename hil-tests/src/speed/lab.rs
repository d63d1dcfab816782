//! A lab with any number of benches: `hilt run --lab`, and its client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use exporter::wire::client::client_service_client::ClientServiceClient;
use exporter::wire::client::{
    CreateLeaseRequest, DeleteLeaseRequest, GetExporterRequest, GetLeaseRequest, Lease,
};
use exporter::wire::controller_service_client::ControllerServiceClient;
use exporter::wire::router_service_client::RouterServiceClient;
use exporter::wire::{DialRequest, ExporterStatus, FrameType, StreamRequest, StreamResponse};
use futures_util::{SinkExt as _, StreamExt as _, future};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, join};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use tokio_util::sync::PollSender;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Request, Streaming};
use tower::service_fn;

use super::client::{self, endpoint, pause};
use crate::bench::Bench;
use crate::process::{Process, patiently};
use crate::subject::{config_of, free_port, program};

/// How many frames of a connection may wait.
const FRAMES: usize = 8;

/// A running lab.
#[derive(Debug)]
pub(super) struct Lab<'b> {
    bench: &'b Bench,
    _process: Process,
}

/// Somebody who may have leases of a lab.
#[derive(Clone, Debug)]
pub(super) struct LabClient {
    name: String,
    token: String,
    channel: Channel,
}

impl<'b> Lab<'b> {
    /// Starts a lab with so many exporters, `bench-0` and so on, which all have this configuration.
    /// Returns when it accepts connections.
    pub(super) async fn start(bench: &'b Bench, count: usize, body: &str) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = bench.command(program(bench)?);
        command.arg("run").arg("--lab").arg(address.to_string());
        command.arg("--state-dir").arg(state(bench));
        for number in 0..count {
            let name = format!("bench-{number}");
            let file = bench.write(&format!("{name}.yaml"), config_of(&name, body))?;
            command.arg("--exporter-config").arg(file);
        }
        let process = Process::start_unheard("the lab", command)?;
        let accepts = async {
            while TcpStream::connect(address).await.is_err() {
                pause().await;
            }
        };
        patiently("the lab to accept connections", accepts).await?;
        Ok(Self { bench, _process: process })
    }

    /// Waits until a bench is AVAILABLE, as a client sees it.
    pub(super) async fn is_free(&self, bench: &str, client: &LabClient) -> Result<()> {
        let is_free = async {
            while client.status(bench).await? != ExporterStatus::Available {
                pause().await;
            }
            Ok(())
        };
        patiently(&format!("{bench} to be free"), is_free).await?
    }

    /// Lets a client in, and connects it.
    pub(super) async fn client(&self, name: &str) -> Result<LabClient> {
        let file = self.bench.path(&format!("{name}.json"));
        let mut command = self.bench.command(program(self.bench)?);
        command.args(["lab", "client", "add", name, "--state-dir"]).arg(state(self.bench));
        command.arg("--output").arg(&file);
        Process::start("hilt lab client add", command)?.ends().await?.ok()?;
        LabClient::read(&file).await
    }
}

impl LabClient {
    /// Connects the client whose file this is.
    async fn read(file: &Path) -> Result<Self> {
        let content: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a client's file");
        let ca = STANDARD.decode(text(&content["tls"]["ca"])?)?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let lab = endpoint(format!("https://{}", text(&content["endpoint"])?))?;
        Ok(Self {
            name: text(&content["metadata"]["name"])?,
            token: text(&content["token"])?,
            channel: lab.tls_config(tls)?.connect().await.context("connecting to the lab")?,
        })
    }

    /// Asks for a lease of an hour.
    pub(super) async fn create(&self, name: &str, selector: &str) -> Result<Lease> {
        const HOUR: Duration = Duration::from_secs(3600);
        let duration = HOUR.try_into().ok();
        let lease = Lease { selector: selector.into(), duration, ..Lease::default() };
        let request = CreateLeaseRequest {
            parent: "namespaces/default".into(),
            lease_id: name.into(),
            lease: Some(lease),
        };
        let lease = self.leases().create_lease(self.says(request)?).await;
        Ok(lease.with_context(|| format!("asking for {name}"))?.into_inner())
    }

    /// Waits until a lease has an exporter.
    pub(super) async fn has(&self, name: &str) -> Result<()> {
        let has = async {
            loop {
                let request = self.says(GetLeaseRequest { name: whole(name) })?;
                let lease = self.leases().get_lease(request).await?.into_inner();
                if lease.exporter.is_some() {
                    return Ok(());
                }
                pause().await;
            }
        };
        patiently(&format!("{name} to have an exporter"), has).await?
    }

    /// What an exporter is doing.
    async fn status(&self, exporter: &str) -> Result<ExporterStatus> {
        let name = format!("namespaces/default/exporters/{exporter}");
        let request = GetExporterRequest { name, ..GetExporterRequest::default() };
        Ok(self.leases().get_exporter(self.says(request)?).await?.into_inner().status())
    }

    /// Gives a lease back.
    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        let request = self.says(DeleteLeaseRequest { name: whole(name) })?;
        self.leases().delete_lease(request).await.with_context(|| format!("ending {name}"))?;
        Ok(())
    }

    /// Connects to the exporter of a lease through the lab's router.
    pub(super) async fn connect(&self, lease: &str) -> Result<client::Client> {
        let dial = self.says(DialRequest { lease_name: lease.into() })?;
        let mut controller = ControllerServiceClient::new(self.channel.clone());
        let dialled = controller.dial(dial).await.context("Dial")?.into_inner();
        let (outbound, frames) = mpsc::channel(FRAMES);
        let mut request = Request::new(ReceiverStream::new(frames));
        let token = format!("Bearer {}", dialled.router_token).parse()?;
        request.metadata_mut().insert("authorization", token);
        let mut router = RouterServiceClient::new(self.channel.clone());
        let inbound = router.stream(request).await.context("Stream of the router")?.into_inner();
        let mut connection = Some(TokioIo::new(connection(inbound, outbound)));
        let connector = service_fn(move |_| {
            let connection = connection.take();
            future::ready(connection.ok_or_else(|| io::Error::other("it connects once")))
        });
        let exporter = endpoint("http://exporter".into())?;
        let channel = exporter.connect_with_connector(connector).await;
        Ok(client::Client::through(channel.context("connecting through the router")?))
    }

    fn leases(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.channel.clone())
    }

    /// A request that says who it is from.
    fn says<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse()?);
        metadata.insert("jumpstarter-kind", "Client".parse()?);
        metadata.insert("jumpstarter-namespace", "default".parse()?);
        metadata.insert("jumpstarter-name", self.name.parse()?);
        Ok(request)
    }
}

/// The state directory of a lab on this bench.
pub(super) fn state(bench: &Bench) -> PathBuf {
    bench.path("lab")
}

/// A router's frames, as bytes.
fn connection(
    inbound: Streaming<StreamResponse>,
    outbound: mpsc::Sender<StreamRequest>,
) -> impl AsyncRead + AsyncWrite + Unpin {
    let payload = |frame: Result<StreamResponse, _>| match frame {
        Ok(frame) => Ok(frame.payload),
        Err(status) => Err(io::Error::other(status)),
    };
    let frames = PollSender::new(outbound).sink_map_err(io::Error::other).with(|payload| {
        let frame_type = FrameType::Data.into();
        future::ok::<_, io::Error>(StreamRequest { payload, frame_type })
    });
    join(StreamReader::new(inbound.map(payload)), SinkWriter::new(CopyToBytes::new(frames)))
}

fn whole(lease: &str) -> String {
    format!("namespaces/default/leases/{lease}")
}
