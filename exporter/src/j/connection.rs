//! The one connection to the exporter.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use super::environment::{Environment, Host, Passphrase, Security};
use super::error::{Error, Result};
use crate::wire::exporter_service_client::ExporterServiceClient;
use crate::wire::router_service_client::RouterServiceClient;
use crate::wire::transfer::{LONGEST_FRAME, make_room};
use crate::wire::value::{from_wire, to_wire};
use crate::wire::{
    DriverCallRequest, GetReportResponse, StreamRequest, StreamResponse,
    StreamingDriverCallRequest, StreamingDriverCallResponse,
};

/// What a download may have under way: enough that the exporter never waits for permission to send.
const STREAM_WINDOW: u32 = 4 << 20;
/// All streams together, so that two forwarded connections don't starve each other.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// An open connection to an exporter.
#[derive(Debug)]
pub(crate) struct Connection {
    exporter: ExporterServiceClient<Service>,
    router: RouterServiceClient<Service>,
    host: String,
}

type Service = InterceptedService<Channel, Authentication>;

impl Connection {
    /// Connects to where `environment` says.
    pub(crate) async fn open(environment: &Environment) -> Result<Self> {
        let channel = connect(&environment.host)
            .await
            .map_err(|reason| Error::Unreachable { host: environment.host.to_string(), reason })?;
        let authentication = Authentication(environment.passphrase.clone());
        let service = InterceptedService::new(channel, authentication);
        Ok(Self {
            exporter: ExporterServiceClient::new(service.clone()),
            router: RouterServiceClient::new(service),
            host: environment.host.to_string(),
        })
    }

    /// The exporter's drivers. No deadline: the reference's client has none, since a tunnel answers
    /// when the beforeLease hook is done.
    pub(crate) async fn report(&self) -> Result<GetReportResponse> {
        let report = self.exporter.clone().get_report(()).await;
        report.map(Response::into_inner).map_err(|status| Error::Unreachable {
            host: self.host.clone(),
            reason: format!("{} ({:?})", root_cause(&status), status.code()),
        })
    }

    /// Calls `method` of the driver `uuid`.
    pub(crate) async fn call(
        &self,
        uuid: &str,
        method: &str,
        args: Vec<Value>,
    ) -> Result<Value, Status> {
        let request = DriverCallRequest {
            uuid: uuid.to_owned(),
            method: method.to_owned(),
            args: args.into_iter().map(to_wire).collect(),
        };
        let response = self.exporter.clone().driver_call(request).await?;
        Ok(from_wire(response.into_inner().result))
    }

    /// Calls `method` of the driver `uuid` and returns the items as they come.
    pub(crate) async fn items(
        &self,
        uuid: &str,
        method: &str,
        args: Vec<Value>,
    ) -> Result<Streaming<StreamingDriverCallResponse>, Status> {
        let request = StreamingDriverCallRequest {
            uuid: uuid.to_owned(),
            method: method.to_owned(),
            args: args.into_iter().map(to_wire).collect(),
        };
        self.exporter.clone().streaming_driver_call(request).await.map(Response::into_inner)
    }

    /// Opens a byte stream. `request` says to what, as JSON; `frames` is what this side sends.
    ///
    /// Returns when the exporter has sent its headers, which it does before any frame.
    pub(crate) async fn stream(
        &self,
        request: &Value,
        frames: impl futures_util::Stream<Item = StreamRequest> + Send + 'static,
    ) -> Result<Response<Streaming<StreamResponse>>, Status> {
        let metadata: MetadataValue<Ascii> = request
            .to_string()
            .parse()
            .map_err(|_| Status::invalid_argument("a stream request is ASCII"))?;
        let mut request = Request::new(frames);
        request.metadata_mut().insert("request", metadata);
        self.router.clone().stream(request).await
    }
}

/// Adds the passphrase to every call. The reference adds it on TCP only, and so locks its own `j`
/// out of the hooks of an exporter with a passphrase.
#[derive(Debug, Clone)]
struct Authentication(Option<Passphrase>);

impl Interceptor for Authentication {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(Passphrase(passphrase)) = &self.0 {
            request.metadata_mut().insert("x-jumpstarter-passphrase", passphrase.clone());
        }
        Ok(request)
    }
}

/// The error is the reason, for people.
async fn connect(host: &Host) -> Result<Channel, String> {
    let connected = match host {
        Host::Unix(path) => {
            let path = path.clone();
            let connector = service_fn(move |_: Uri| unix(path.clone()));
            // The name is for form's sake.
            let endpoint = with_windows(Endpoint::from_static("http://localhost"));
            endpoint.connect_with_connector(connector).await
        }
        Host::Tcp { address, security } => with_windows(tcp(address, security)?).connect().await,
    };
    connected.map_err(|error| root_cause(&error))
}

async fn unix(path: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    let stream = UnixStream::connect(path).await?;
    make_room(&stream);
    Ok(TokioIo::new(stream))
}

fn tcp(address: &str, security: &Security) -> Result<Endpoint, String> {
    let tls = match security {
        Security::Plaintext => None,
        Security::SystemRoots => Some(ClientTlsConfig::new().with_native_roots()),
        Security::Roots(path) => {
            let pem =
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        }
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map(keep_alive);
    match tls {
        None => endpoint,
        Some(tls) => endpoint.and_then(|endpoint| endpoint.tls_config(tls)),
    }
    .map_err(|error| root_cause(&error))
}

fn with_windows(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(LONGEST_FRAME)
}

/// As the reference does on TCP: a long silence during a flash must not look dead to a NAT on the
/// way.
fn keep_alive(endpoint: Endpoint) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(180))
        .keep_alive_while_idle(true)
}

/// The innermost source says what happened; those around it say "transport error".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}
