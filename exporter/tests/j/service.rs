//! The fake's side of the wire.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use exporter::wire::exporter_service_server::ExporterService;
use exporter::wire::router_service_server::RouterService;
use exporter::wire::{
    DriverCallRequest, DriverCallResponse, DriverInstanceReport, EndSessionRequest,
    EndSessionResponse, FrameType, GetReportResponse, GetStatusRequest, GetStatusResponse,
    LogStreamResponse, ResetRequest, ResetResponse, StreamRequest, StreamResponse,
    StreamingDriverCallRequest, StreamingDriverCallResponse,
};
use futures_util::Stream;
use prost_types::Value as Wire;
use prost_types::value::Kind;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::bench::{Answer, End, State, Upload, lock};

#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<State>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Name, parent and client class of every driver. The name is the uuid, too.
const DRIVERS: [(&str, &str, &str); 11] = [
    ("root", "", "jumpstarter_driver_composite.client.CompositeClient"),
    ("power", "root", "jumpstarter_driver_power.client.PowerClient"),
    ("board", "root", "jumpstarter_driver_composite.client.CompositeClient"),
    ("relay", "board", "jumpstarter_driver_power.client.PowerClient"),
    ("flasher", "root", "jumpstarter.client.flasher.FlasherClient"),
    ("mux", "root", "jumpstarter_driver_opendal.client.StorageMuxClient"),
    ("storage", "root", "jumpstarter_driver_opendal.client.StorageMuxFlasherClient"),
    ("fs", "root", "jumpstarter_driver_opendal.client.OpendalClient"),
    ("shell", "root", "jumpstarter_driver_shell.client.ShellClient"),
    ("serial", "root", "jumpstarter_driver_pyserial.client.PySerialClient"),
    ("net", "root", "jumpstarter_driver_network.client.NetworkClient"),
];

#[tonic::async_trait]
impl ExporterService for Service {
    async fn get_report(
        &self,
        request: Request<()>,
    ) -> Result<Response<GetReportResponse>, Status> {
        self.0.count("GetReport", request.metadata());
        let report = |&(name, parent, client): &(&str, &str, &str)| DriverInstanceReport {
            uuid: name.into(),
            parent_uuid: (!parent.is_empty()).then(|| parent.into()),
            labels: [("jumpstarter.dev/client", client), ("jumpstarter.dev/name", name)]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            methods_description: (name == "storage")
                .then(|| ("write --bmap".into(), "The image's block map".into()))
                .into_iter()
                .collect(),
            ..DriverInstanceReport::default()
        };
        let reports = DRIVERS.iter().map(report).collect();
        Ok(Response::new(GetReportResponse { reports, ..GetReportResponse::default() }))
    }

    async fn driver_call(
        &self,
        request: Request<DriverCallRequest>,
    ) -> Result<Response<DriverCallResponse>, Status> {
        self.0.count("DriverCall", request.metadata());
        let DriverCallRequest { uuid, method, args } = request.into_inner();
        let args: Vec<Value> = args.into_iter().map(json_of).collect();
        self.0.note(format!("{uuid}.{method}"), args.clone());
        self.0.refusal(&method)?;
        let result = self.call(&uuid, &method, &args).await?;
        Ok(Response::new(DriverCallResponse { uuid, result: Some(wire_of(result)) }))
    }

    type StreamingDriverCallStream = Responses<StreamingDriverCallResponse>;

    async fn streaming_driver_call(
        &self,
        request: Request<StreamingDriverCallRequest>,
    ) -> Result<Response<Self::StreamingDriverCallStream>, Status> {
        self.0.count("StreamingDriverCall", request.metadata());
        let StreamingDriverCallRequest { uuid, method, args } = request.into_inner();
        self.0.note(format!("{uuid}.{method}"), args.into_iter().map(json_of).collect());
        self.0.refusal(&method)?;
        let items = match method.as_str() {
            "read" => vec![json!({"voltage": 5, "current": 0.25})],
            "call_method" => {
                vec![json!(["out\n", "", null]), json!(["", "err\n", null]), json!(["", "", 7])]
            }
            "list" => vec![json!("/"), json!("a.txt")],
            _ => return Err(not_found(&method)),
        };
        let item = move |item| {
            Ok(StreamingDriverCallResponse { uuid: uuid.clone(), result: Some(wire_of(item)) })
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(items.into_iter().map(item)))))
    }

    type LogStreamStream = Responses<LogStreamResponse>;

    async fn log_stream(&self, _: Request<()>) -> Result<Response<Self::LogStreamStream>, Status> {
        Err(Status::unimplemented("j asks for no logs"))
    }

    async fn reset(&self, _: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        Err(Status::unimplemented("j resets nothing"))
    }

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Err(Status::unimplemented("j asks for no status"))
    }

    async fn end_session(
        &self,
        _: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        Err(Status::unimplemented("j ends no session"))
    }
}

impl Service {
    async fn call(&self, driver: &str, method: &str, args: &[Value]) -> Result<Value, Status> {
        match (driver, method) {
            (_, "on" | "off" | "rescue" | "host" | "dut" | "file_close") => Ok(Value::Null),
            ("power", "status") => Ok(json!("off")),
            ("shell", "get_methods") => Ok(json!(["hello"])),
            ("net", "address") => Ok(json!("tcp://127.0.0.1:80")),
            ("fs", "open") => Ok(json!("fd-1")),
            ("fs", "exists") => Ok(json!(args[0] == "a.txt")),
            (_, "flash" | "write") => {
                for handle in args {
                    self.take(handle).await?;
                }
                Ok(Value::Null)
            }
            ("fs", "file_write") => self.take(&args[1]).await,
            ("storage", "read") | ("flasher", "dump") => self.give(&args[0]),
            ("fs", "file_read") => self.give(&args[1]),
            _ => Err(not_found(method)),
        }
    }

    fn resource(&self, handle: &Value) -> Option<Answer> {
        lock(&self.0.resources).remove(handle["uuid"].as_str()?)
    }

    /// A driver that reads what it is lent, to the end.
    async fn take(&self, handle: &Value) -> Result<Value, Status> {
        let Some(answer) = self.resource(handle) else { return Ok(Value::Null) };
        self.0.upload.subscribe().wait_for(|upload| upload.end.is_some()).await.unwrap();
        answer.send(Ok(goaway())).await.ok();
        Ok(Value::Null)
    }

    /// A driver that writes to what it is lent. It is done before the last chunk has left.
    fn give(&self, handle: &Value) -> Result<Value, Status> {
        let answer = self.resource(handle).ok_or_else(|| Status::unknown("no such handle"))?;
        let chunks = std::mem::take(&mut *lock(&self.0.download));
        let breaks_off = *lock(&self.0.breaks_off);
        std::thread::spawn(move || {
            for chunk in chunks {
                answer.blocking_send(Ok(data(chunk))).ok();
            }
            let end = if breaks_off { Err(Status::unavailable("disk gone")) } else { Ok(goaway()) };
            answer.blocking_send(end).ok();
        });
        Ok(Value::Null)
    }
}

#[tonic::async_trait]
impl RouterService for Service {
    type StreamStream = Responses<StreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.0.count("Stream", request.metadata());
        let to = request.metadata().get("request").unwrap().as_bytes();
        let to: Value = serde_json::from_slice(to).unwrap();
        let frames = request.into_inner();
        if to["kind"] == "driver" {
            self.0.note(format!("{}.{}", to["uuid"].as_str().unwrap(), "connect"), vec![]);
            self.0.refusal("connect")?;
            return Ok(Response::new(echo(frames)));
        }
        let (answer, answers) = mpsc::channel(1);
        let encoding = to["x_jmp_content_encoding"].as_str().map(str::to_owned);
        let handle = json!({
            "kind": "client_stream",
            "uuid": "resource-1",
            "x_jmp_content_encoding": encoding,
        });
        let accepted = encoding.clone().unwrap_or_default();
        lock(&self.0.resources).insert("resource-1".into(), answer);
        self.0.upload.send_replace(Upload { encoding, ..Upload::default() });
        lock(&self.0.receivers).spawn(receive(Arc::clone(&self.0), frames));
        let answers: Self::StreamStream = Box::pin(ReceiverStream::new(answers));
        let mut response = Response::new(answers);
        response.metadata_mut().insert("resource", handle.to_string().parse().unwrap());
        response.metadata_mut().insert("x_jmp_accept_encoding", accepted.parse().unwrap());
        Ok(response)
    }
}

/// Receives an upload, also if the call that wanted it is gone: its end is what matters then.
async fn receive(state: Arc<State>, mut frames: Streaming<StreamRequest>) {
    loop {
        let frame = frames.message().await;
        state.upload.send_modify(|upload| match frame {
            Ok(Some(ref frame)) if frame.frame_type() == FrameType::Data => {
                upload.largest_frame = upload.largest_frame.max(frame.payload.len());
                upload.bytes.extend_from_slice(&frame.payload);
            }
            Ok(_) => upload.end = Some(End::Complete),
            Err(_) => upload.end = Some(End::CutOff),
        });
        if state.upload.borrow().end.is_some() {
            break;
        }
    }
}

/// A device that says what it hears, until it hears the end.
fn echo(frames: Streaming<StreamRequest>) -> Responses<StreamResponse> {
    Box::pin(futures_util::stream::unfold(Some(frames), |frames| async {
        let mut frames = frames?;
        match frames.message().await {
            Ok(Some(frame)) if frame.frame_type() == FrameType::Data => {
                Some((Ok(data(frame.payload)), Some(frames)))
            }
            Ok(_) => Some((Ok(goaway()), None)),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

fn data(payload: Bytes) -> StreamResponse {
    StreamResponse { payload, frame_type: FrameType::Data.into() }
}

fn goaway() -> StreamResponse {
    StreamResponse { payload: Bytes::new(), frame_type: FrameType::Goaway.into() }
}

fn not_found(method: &str) -> Status {
    Status::not_found(format!("method {method} not found on driver"))
}

fn json_of(value: Wire) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::NumberValue(value)) => json!(value),
        Some(Kind::StringValue(value)) => json!(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_of).collect(),
        Some(Kind::StructValue(it)) => {
            it.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect()
        }
    }
}

fn wire_of(value: Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.into_iter().map(wire_of).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(prost_types::Struct {
            fields: fields.into_iter().map(|(name, value)| (name, wire_of(value))).collect(),
        }),
    };
    Wire { kind: Some(kind) }
}
