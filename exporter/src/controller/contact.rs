//! What is needed to speak with a controller, and how it is spoken with.

use std::fmt;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tonic::metadata::{Ascii, AsciiMetadataValue, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use super::dialer::{Dialer, Network};
use super::options::Options;
use super::target::{BadTarget, Target};
use super::trust::{self, TrustError};
use crate::config::{Config, Tls};
use crate::secret::Secret;
use crate::wire::controller_service_client::ControllerServiceClient;
use crate::wire::router_service_client::RouterServiceClient;

/// How many bytes may be under way on a stream and on a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// A client of a controller.
pub(super) type Controller = ControllerServiceClient<InterceptedService<Channel, Credentials>>;

/// A client of a router.
pub(super) type Router = RouterServiceClient<InterceptedService<Channel, Token>>;

/// What of a configuration is about the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub(super) target: Target,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) token: Secret,
    pub(super) tls: Tls,
    /// There is no TLS at all.
    pub(super) plaintext: bool,
    pub(super) options: Options,
}

/// Why a configuration is not enough to be scheduled by a controller.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// In the reference's words, and a hint.
    #[error(
        "endpoint or token not set in exporter config; give both `endpoint:` and `token:`, or \
         --tls-grpc-listener [HOST:]PORT to serve clients without a controller"
    )]
    Unset,
    /// The endpoint can't be understood.
    #[error("endpoint: {0}")]
    Endpoint(#[from] BadTarget),
    /// What can't be sent as it is.
    #[error("{0} has characters that can't be sent")]
    Unsendable(&'static str),
    /// Nobody could be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Makes the way to whoever the settings trust.
pub type Ways = dyn Fn(&Settings) -> Result<Arc<dyn Dialer>, ContactError> + Send + Sync;

/// How a controller is spoken with.
#[derive(Clone)]
pub(super) struct Contact {
    pub(super) settings: Settings,
    pub(super) controller: Controller,
    dialer: Arc<dyn Dialer>,
}

impl Settings {
    /// Those of a configuration.
    ///
    /// # Errors
    ///
    /// Something is missing, or can't be used.
    pub fn of(config: &Config) -> Result<Self, ContactError> {
        let (Some(endpoint), Some(token)) = (&config.endpoint, &config.token) else {
            return Err(ContactError::Unset);
        };
        Ok(Self {
            target: endpoint.parse()?,
            namespace: config.metadata.namespace.clone().unwrap_or_default(),
            name: config.metadata.name.clone(),
            token: token.clone(),
            tls: config.tls.clone(),
            plaintext: false,
            options: Options::of(config),
        })
    }
}

/// The network, as far as it can be trusted.
///
/// # Errors
///
/// Nobody could be trusted.
pub fn network(settings: &Settings) -> Result<Arc<dyn Dialer>, ContactError> {
    let tls = match settings.plaintext {
        true => None,
        false => Some(trust::client_config(&settings.tls)?),
    };
    Ok(Arc::new(Network::new(tls, settings.options.server_name.clone())))
}

impl Contact {
    /// Nothing is connected before it is used.
    pub(super) fn new(settings: Settings, ways: &Ways) -> Result<Self, ContactError> {
        let dialer = ways(&settings)?;
        let credentials = Credentials::of(&settings)?;
        let channel = channel(&settings.target, &settings.options, Arc::clone(&dialer));
        let controller = ControllerServiceClient::with_interceptor(channel, credentials)
            .max_decoding_message_size(settings.options.largest_received);
        Ok(Self { settings, controller, dialer })
    }

    /// A client of a router that has given this token for one stream.
    pub(super) fn router(&self, endpoint: &str, token: &str) -> Result<Router, ContactError> {
        let target: Target = endpoint.parse()?;
        let options = &self.settings.options;
        let channel = channel(&target, options, Arc::clone(&self.dialer));
        let token = Token(bearer(token).ok_or(ContactError::Unsendable("the router's token"))?);
        Ok(RouterServiceClient::with_interceptor(channel, token)
            .max_decoding_message_size(options.largest_received))
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A channel that connects when it is used, and again when it has lost its connection.
pub(super) fn channel(target: &Target, options: &Options, dialer: Arc<dyn Dialer>) -> Channel {
    let authority = options.authority.clone().unwrap_or_else(|| target.to_string());
    let origin = format!("https://{authority}").parse::<Uri>().ok();
    // The dialer does what the scheme would ask for.
    let endpoint = Endpoint::from_shared(format!("http://{target}"))
        .unwrap_or_else(|_| Endpoint::from_static("http://unnamed.invalid"));
    let endpoint = match origin {
        Some(origin) => endpoint.origin(origin),
        None => endpoint,
    };
    let target = target.clone();
    endpoint
        .http2_keep_alive_interval(options.keepalive.0)
        .keep_alive_timeout(options.keepalive.1)
        .keep_alive_while_idle(options.keepalive_while_idle)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (dialer, target) = (Arc::clone(&dialer), target.clone());
            async move { dialer.dial(&target).await.map(TokioIo::new) }
        }))
}

/// Says who is calling, on every request to a controller.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    authorization: MetadataValue<Ascii>,
    namespace: MetadataValue<Ascii>,
    name: MetadataValue<Ascii>,
}

impl Credentials {
    fn of(settings: &Settings) -> Result<Self, ContactError> {
        let sent = |text: &str, what| {
            AsciiMetadataValue::try_from(text).map_err(|_| ContactError::Unsendable(what))
        };
        Ok(Self {
            authorization: bearer(settings.token.reveal())
                .ok_or(ContactError::Unsendable("token"))?,
            namespace: sent(&settings.namespace, "metadata.namespace")?,
            name: sent(&settings.name, "metadata.name")?,
        })
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.authorization.clone());
        metadata.insert("jumpstarter-kind", MetadataValue::from_static("Exporter"));
        metadata.insert("jumpstarter-namespace", self.namespace.clone());
        metadata.insert("jumpstarter-name", self.name.clone());
        Ok(request)
    }
}

/// The token of one router stream, or of the telemetry service.
#[derive(Debug, Clone)]
pub(super) struct Token(pub(super) MetadataValue<Ascii>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(super) fn bearer(token: &str) -> Option<MetadataValue<Ascii>> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}
