//! The RPCs that an exporter serves: one short function each.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use drivers::driver::check_method;
use drivers::tree::Node;
use drivers::{Args, Call, DriverError, Shape};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::admission::{Origin, Permit};
use super::bench::Bench;
use super::failure::{kind_of, status_of};
use super::handle::{self, ClientStream};
use super::log::{Record, Source};
use super::marks;
use super::peer::Peer;
use super::stream::{self as bytes, Limited};
use crate::activity::Doing;
use crate::lease::status;
use crate::logging;
use crate::wire::exporter_service_server::ExporterService;
use crate::wire::router_service_server::RouterService;
use crate::wire::value::{from_wire, to_wire};
use crate::wire::{
    DriverCallRequest, DriverCallResponse, EndSessionRequest, EndSessionResponse, ExporterStatus,
    GetReportResponse, GetStatusRequest, GetStatusResponse, LogSource, LogStreamResponse,
    ResetRequest, ResetResponse, StreamRequest, StreamResponse, StreamingDriverCallRequest,
    StreamingDriverCallResponse,
};

/// What the log says of a call that has worked. Its operation says which it was.
pub const COMPLETED: &str = "Operation completed";

/// Serves a [`Bench`].
#[derive(Debug, Clone)]
pub struct Service {
    bench: Arc<Bench>,
}

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    /// A service for a bench.
    pub fn new(bench: Arc<Bench>) -> Self {
        Self { bench }
    }
}

#[tonic::async_trait]
impl ExporterService for Service {
    async fn get_report(&self, _: Request<()>) -> Reply<GetReportResponse> {
        Ok(Response::new(self.bench.report()))
    }

    async fn driver_call(&self, request: Request<DriverCallRequest>) -> Reply<DriverCallResponse> {
        let origin = Peer::of(&request)?.origin;
        let DriverCallRequest { uuid, method, args } = request.into_inner();
        let admitted = self.admit(origin, &uuid, &method, Shape::Unary)?;
        let args: Vec<_> = args.into_iter().map(|arg| from_wire(Some(arg))).collect();
        let resources = self.bench.resources.for_call(admitted.node.id, &args);
        let call = Call { method: &method, args: Args::new(args), resources: &resources };
        if let Some(mark) = marks::of_call(&admitted.node, &method) {
            self.bench.mark(&mark);
        }
        let result = admitted.run(admitted.node.driver.call(call)).await?;
        Ok(Response::new(DriverCallResponse {
            uuid: Uuid::new_v4().to_string(),
            result: Some(to_wire(result)),
        }))
    }

    type StreamingDriverCallStream = ReplyStream<StreamingDriverCallResponse>;

    async fn streaming_driver_call(
        &self,
        request: Request<StreamingDriverCallRequest>,
    ) -> Reply<Self::StreamingDriverCallStream> {
        let origin = Peer::of(&request)?.origin;
        let StreamingDriverCallRequest { uuid, method, args } = request.into_inner();
        let admitted = self.admit(origin, &uuid, &method, Shape::Items)?;
        let args: Vec<_> = args.into_iter().map(|arg| from_wire(Some(arg))).collect();
        let resources = self.bench.resources.for_call(admitted.node.id, &args);
        let call = Call { method: &method, args: Args::new(args), resources: &resources };
        let items = admitted.run(admitted.node.driver.items(call)).await?;
        let span = admitted.span.clone();
        let replies = items.map(move |item| match item {
            Ok(item) => Ok(StreamingDriverCallResponse {
                uuid: Uuid::new_v4().to_string(),
                result: Some(to_wire(item)),
            }),
            Err(error) => Err(span.in_scope(|| failed(&error))),
        });
        Ok(Response::new(admitted.limit(replies, &self.bench.serving)))
    }

    type LogStreamStream = ReplyStream<LogStreamResponse>;

    async fn log_stream(&self, _: Request<()>) -> Reply<Self::LogStreamStream> {
        let records = stream::unfold(self.bench.log.reader(), |mut reader| async move {
            let record = reader.next().await;
            Some((Ok(log_response(&record)), reader))
        });
        let serving = self.bench.serving.clone();
        Ok(Response::new(records.take_until(serving.cancelled_owned()).boxed()))
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Reply<ResetResponse> {
        Err(Status::unimplemented("Method not implemented!"))
    }

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Reply<GetStatusResponse> {
        let now = self.bench.status.current();
        Peer::of(&request)?.viewer.saw(&now);
        let wire = |status| ExporterStatus::from(status).into();
        Ok(Response::new(GetStatusResponse {
            status: wire(now.status),
            message: Some(now.message),
            status_version: now.version,
            previous_status: now.previous.map(wire),
        }))
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Reply<EndSessionResponse> {
        Peer::of(&request)?;
        let (success, message) = match &self.bench.lease {
            Some(lease) => {
                lease.end_session();
                (true, "Session end triggered, afterLease hook running asynchronously")
            }
            None => (false, "No active lease context"),
        };
        Ok(Response::new(EndSessionResponse { success, message: Some(message.into()) }))
    }
}

#[tonic::async_trait]
impl RouterService for Service {
    type StreamStream = ReplyStream<StreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Reply<Self::StreamStream> {
        let origin = Peer::of(&request)?.origin;
        match stream_request(request.metadata())? {
            handle::StreamRequest::Driver { uuid, method } => {
                let admitted = self.admit(origin, &uuid, &method, Shape::Bytes)?;
                let device = admitted.run(admitted.node.driver.connect(&method)).await?;
                let replies = bytes::connect(
                    device,
                    request.into_inner(),
                    &admitted.permit,
                    &self.bench.tasks,
                );
                Ok(Response::new(admitted.limit(replies, &self.bench.serving)))
            }
            handle::StreamRequest::Resource { uuid, x_jmp_content_encoding: encoding } => {
                let permit = self.bench.admit(origin)?;
                let node = self.bench.node(&uuid)?;
                let (id, replies) = self.bench.resources.offer(node.id, request.into_inner());
                let path = node.path.clone();
                let doing = self.bench.activity.begin(move || format!("stream: lent to {path}"));
                let replies = Limited::new(replies, &permit, &self.bench.serving, Span::none());
                let replies = replies.with(doing);
                let mut response = Response::new(replies.boxed());
                announce(response.metadata_mut(), id, encoding)?;
                Ok(response)
            }
        }
    }
}

/// A use of a driver that may go on.
struct Admitted {
    node: Arc<Node>,
    permit: Permit,
    span: Span,
    doing: Doing,
}

impl Service {
    fn admit(
        &self,
        origin: Origin,
        uuid: &str,
        method: &str,
        shape: Shape,
    ) -> Result<Admitted, Status> {
        let permit = self.bench.admit(origin)?;
        let node = self.bench.node(uuid)?;
        let span = logging::call_span(&self.bench.span, &node.path, node.driver.category(), method);
        match check_method(&*node.driver, method, shape) {
            Ok(()) => {
                let doing = self.under_way(&node, method, shape);
                Ok(Admitted { node, permit, span, doing })
            }
            Err(error) => Err(span.in_scope(|| failed(&error))),
        }
    }
}

impl Service {
    fn under_way(&self, node: &Arc<Node>, method: &str, shape: Shape) -> Doing {
        let (node, method) = (Arc::clone(node), method.to_owned());
        self.bench.activity.begin(move || match shape {
            Shape::Unary => format!("call: {method} of {}", node.path),
            Shape::Items => format!("call with many answers: {method} of {}", node.path),
            Shape::Bytes => format!("stream: {method} of {}", node.path),
        })
    }
}

impl Admitted {
    /// Lets the driver work for as long as the permit lasts.
    async fn run<T>(&self, work: impl Future<Output = drivers::Result<T>>) -> Result<T, Status> {
        let done = self.permit.during(unwinding(work)).instrument(self.span.clone()).await?;
        self.span.in_scope(|| match done {
            Ok(done) => {
                tracing::debug!(target: "drivers", result = "success", "{COMPLETED}");
                Ok(done)
            }
            Err(error) => Err(failed(&error)),
        })
    }

    /// Ends what the driver yields together with the permit.
    fn limit<T, S>(self, replies: S, serving: &CancellationToken) -> ReplyStream<T>
    where
        S: Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
        T: 'static,
    {
        let Self { permit, span, doing, .. } = self;
        Limited::new(replies, &permit, serving, span).with(doing).boxed()
    }
}

/// Logs a failure; returns what the client is told.
fn failed(error: &DriverError) -> Status {
    let error_type = kind_of(error);
    tracing::warn!(target: "drivers", result = "failure", error_type, "Operation failed: {error}");
    status_of(error)
}

/// A panic in a driver is the failure of one call, not of the exporter.
async fn unwinding<T>(work: impl Future<Output = drivers::Result<T>>) -> drivers::Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
        Err(DriverError::Device(format!("the driver has panicked: {text}")))
    })
}

/// Reads what a stream is to be connected to.
fn stream_request(metadata: &MetadataMap) -> Result<handle::StreamRequest, Status> {
    let wrong = |what: String| {
        Status::invalid_argument(format!(
            "metadata 'request': {what}; expected JSON such as \
             {{\"kind\": \"driver\", \"uuid\": \"...\", \"method\": \"connect\"}}"
        ))
    };
    // Where the key is repeated, the last one counts.
    let request = metadata.get_all("request").iter().next_back();
    let request = request.ok_or_else(|| wrong("is missing".to_owned()))?;
    serde_json::from_slice(request.as_bytes()).map_err(|error| wrong(error.to_string()))
}

/// Tells a client the handle of what it lends, and that its encoding is understood.
fn announce(metadata: &mut MetadataMap, id: Uuid, encoding: Option<String>) -> Result<(), Status> {
    let accepted = encoding.clone().unwrap_or_default();
    let handle = serde_json::to_string(&ClientStream::new(id, encoding))
        .map_err(|error| Status::internal(error.to_string()))?;
    for (key, value) in [("resource", handle), ("x_jmp_accept_encoding", accepted)] {
        let value = value.parse().map_err(|_| {
            Status::invalid_argument("x_jmp_content_encoding: not one of gzip, xz, bz2, zstd")
        })?;
        metadata.insert(key, value);
    }
    Ok(())
}

fn log_response(record: &Record) -> LogStreamResponse {
    LogStreamResponse {
        uuid: String::new(),
        severity: record.severity.to_string(),
        message: record.message.clone(),
        source: Some(LogSource::from(record.source).into()),
        driver_type: record.driver_type.clone(),
        operation: record.operation.clone(),
        timestamp: record.time.duration_since(UNIX_EPOCH).ok().map(|_| record.time.into()),
        structured_fields: record
            .fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

impl From<Source> for LogSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Driver => Self::Driver,
            Source::BeforeLeaseHook => Self::BeforeLeaseHook,
            Source::AfterLeaseHook => Self::AfterLeaseHook,
            Source::System => Self::System,
        }
    }
}

impl From<status::Status> for ExporterStatus {
    fn from(status: status::Status) -> Self {
        match status {
            status::Status::Offline => Self::Offline,
            status::Status::Available => Self::Available,
            status::Status::BeforeLeaseHook => Self::BeforeLeaseHook,
            status::Status::LeaseReady => Self::LeaseReady,
            status::Status::AfterLeaseHook => Self::AfterLeaseHook,
            status::Status::BeforeLeaseHookFailed => Self::BeforeLeaseHookFailed,
            status::Status::AfterLeaseHookFailed => Self::AfterLeaseHookFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tonic::metadata::MetadataValue;

    use super::*;

    /// Metadata with these values of `request`, as far as HTTP can carry them.
    fn requests(values: &[Vec<u8>]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for value in values {
            if let Ok(value) = MetadataValue::try_from(value.as_slice()) {
                metadata.append("request", value);
            }
        }
        metadata
    }

    /// Text that may be JSON, and often is nearly what is expected.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        const NEARLY: &str = concat!(
            r#"[{](("(kind|uuid|method|x_jmp_content_encoding)""#,
            r#":("(driver|resource|connect|\\u00e9|é)?"|null|-1|[{]"kind":[}]|\[\])),?){0,4}[}]?"#
        );
        prop_oneof![
            NEARLY.prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..64),
        ]
    }

    proptest! {
        #[test]
        fn a_request_is_understood_or_refused_with_an_example(values in proptest::collection::vec(nearly(), 0..3)) {
            if let Err(status) = stream_request(&requests(&values)) {
                prop_assert_eq!(status.code(), tonic::Code::InvalidArgument);
                prop_assert!(status.message().starts_with("metadata 'request': "));
                prop_assert!(status.message().contains("\"kind\": \"driver\""));
            }
        }

        #[test]
        fn the_last_request_counts(before: String, uuid: String, method: String, encoding: Option<String>) {
            let driver = json!({"kind": "driver", "uuid": &uuid, "method": &method});
            let resource = json!({"kind": "resource", "uuid": &uuid, "x_jmp_content_encoding": &encoding});
            let [driver, resource] = [driver, resource].map(|json| {
                stream_request(&requests(&[before.clone().into_bytes(), escaped(&json)]))
            });
            prop_assert_eq!(driver.unwrap(), handle::StreamRequest::Driver { uuid: uuid.clone(), method });
            let expected = handle::StreamRequest::Resource { uuid, x_jmp_content_encoding: encoding };
            prop_assert_eq!(resource.unwrap(), expected);
        }
    }

    /// JSON in ASCII, as the reference's client writes it.
    fn escaped(json: &serde_json::Value) -> Vec<u8> {
        let mut escaped = String::new();
        for unit in json.to_string().encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => escaped.push(char::from(byte)),
                _ => escaped.push_str(&format!("\\u{unit:04x}")),
            }
        }
        escaped.into_bytes()
    }
}
