//! Byte streams: to devices, and of what clients lend to drivers.

use std::collections::BTreeMap;

use exporter::wire::router_service_client::RouterServiceClient;
use exporter::wire::{EndSessionRequest, ExporterStatus, FrameType, StreamRequest, StreamResponse};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::exporter_under_test::*;

type Router = RouterServiceClient<Channel>;

/// A stream as a client has it.
struct Stream {
    sender: mpsc::Sender<StreamRequest>,
    replies: Streaming<StreamResponse>,
    metadata: MetadataMap,
}

impl Stream {
    /// Opens a stream; `request` is the metadata of that name.
    async fn open(router: &mut Router, request: &str) -> Result<Self, Status> {
        let (sender, frames) = mpsc::channel(4);
        let mut call = Request::new(ReceiverStream::new(frames));
        call.metadata_mut().insert("request", request.parse().unwrap());
        let response =
            timeout(DEADLINE, router.stream(call)).await.expect("headers come at once")?;
        let metadata = response.metadata().clone();
        Ok(Self { sender, replies: response.into_inner(), metadata })
    }

    async fn send(&self, payload: impl Into<bytes::Bytes>) {
        self.frame(payload.into(), FrameType::Data as i32).await;
    }

    async fn frame(&self, payload: bytes::Bytes, frame_type: i32) {
        self.sender.send(StreamRequest { payload, frame_type }).await.unwrap();
    }

    async fn goaway(&self) {
        self.frame(bytes::Bytes::new(), FrameType::Goaway as i32).await;
    }

    async fn receive(&mut self) -> Result<Option<StreamResponse>, Status> {
        timeout(DEADLINE, self.replies.message()).await.expect("the stream goes on")
    }

    /// Everything up to the exporter's GOAWAY.
    async fn receive_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let frame = self.receive().await.unwrap().expect("a GOAWAY comes before the end");
            if frame.frame_type() == FrameType::Goaway {
                return all;
            }
            all.extend_from_slice(&frame.payload);
        }
    }

    /// The handle by which a call names this resource.
    fn handle(&self) -> Value {
        let handle = self.metadata.get("resource").unwrap().to_str().unwrap();
        let handle: BTreeMap<String, Option<String>> = serde_json::from_str(handle).unwrap();
        let field = |value: Option<String>| Value {
            kind: Some(value.map_or(Kind::NullValue(0), Kind::StringValue)),
        };
        let fields = handle.into_iter().map(|(name, value)| (name, field(value))).collect();
        Value { kind: Some(Kind::StructValue(Struct { fields })) }
    }
}

async fn router(exporter: &ExporterUnderTest) -> Router {
    let endpoint = Endpoint::from_shared(exporter.address.clone()).unwrap();
    RouterServiceClient::new(endpoint.connect().await.unwrap())
}

async fn ready(hooks: &str) -> (ExporterUnderTest, Client, Router) {
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let router = router(&exporter).await;
    (exporter, client, router)
}

fn driver_stream(uuid: &str) -> String {
    json!({"kind": "driver", "uuid": uuid, "method": "connect"}).to_string()
}

fn resource(uuid: &str, encoding: Option<&str>) -> String {
    json!({"kind": "resource", "uuid": uuid, "x_jmp_content_encoding": encoding}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_come_back_as_they_were_and_the_end_is_told() {
    let (_exporter, mut client, mut router) = ready("").await;
    let echo = driver(&mut client, "echo").await;
    let mut stream = Stream::open(&mut router, &driver_stream(&echo)).await.unwrap();
    for chunk in [&b"one"[..], b"", b"three"] {
        stream.send(chunk).await;
        // Neither a ping nor an unknown frame is data.
        stream.frame("ping".into(), FrameType::Ping as i32).await;
        stream.frame("future".into(), 42).await;
        assert_eq!(stream.receive().await.unwrap().unwrap().payload, chunk);
    }
    stream.goaway().await;
    let last = stream.receive().await.unwrap().unwrap();
    assert_eq!(last.frame_type(), FrameType::Goaway);
    drop(stream.sender);
    assert!(timeout(DEADLINE, stream.replies.message()).await.unwrap().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_request_is_as_good_as_a_goaway() {
    let (_exporter, mut client, mut router) = ready("").await;
    let echo = driver(&mut client, "echo").await;
    let mut stream = Stream::open(&mut router, &driver_stream(&echo)).await.unwrap();
    stream.send("x").await;
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut stream.sender, closed));
    assert_eq!(stream.receive_all().await, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_be_opened_says_why() {
    let (_exporter, mut client, mut router) = ready("").await;
    let power = driver(&mut client, "power").await;
    let mut error = async |request: &str| {
        let error = Stream::open(&mut router, request).await.err().expect("it is refused");
        (error.code(), error.message().to_owned())
    };
    let stream = |method| json!({"kind": "driver", "uuid": power, "method": method}).to_string();
    assert_eq!(
        error(&stream("connect")).await,
        (Code::NotFound, "method connect not found on driver".into())
    );
    assert_eq!(
        error(&stream("on")).await,
        (Code::NotFound, "method on missing marker marker_streamcall".into())
    );
    for (request, wrong) in [
        ("{}", "missing field `kind`"),
        (r#"{"kind": "floppy"}"#, "unknown variant `floppy`"),
        ("not JSON", "expected ident"),
        (r#"{"kind": "driver", "uuid": 7}"#, "invalid type: integer `7`, expected a string"),
    ] {
        let (code, message) = error(request).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.starts_with("metadata 'request': "), "{message}");
        assert!(message.contains(wrong), "{message}");
    }
    let request = Request::new(tokio_stream::empty());
    let error = router.stream(request).await.unwrap_err();
    assert!(error.message().starts_with("metadata 'request': is missing; expected JSON such as"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_lease() {
    let (_exporter, mut client, mut router) = ready("hooks: {afterLease: {script: 'true'}}").await;
    let echo = driver(&mut client, "echo").await;
    let mut stream = Stream::open(&mut router, &driver_stream(&echo)).await.unwrap();
    client.end_session(EndSessionRequest {}).await.unwrap();
    let error = stream.receive().await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().starts_with("Exporter not ready for driver calls"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_in_and_comes_out() {
    let (_exporter, mut client, mut router) = ready("").await;
    let flasher = driver(&mut client, "flasher").await;
    let image: Vec<u8> =
        (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();

    let upload = Stream::open(&mut router, &resource(&flasher, None)).await.unwrap();
    assert_eq!(upload.metadata.get("x_jmp_accept_encoding").unwrap(), "");
    let handle = upload.handle();
    let send = async {
        for chunk in image.chunks(100_000) {
            upload.send(chunk.to_vec()).await;
        }
        upload.goaway().await;
    };
    let (flashed, ()) = tokio::join!(call(&mut client, &flasher, "flash", vec![handle]), send);
    flashed.unwrap();
    let mut upload = upload;
    assert_eq!(upload.receive_all().await, b"", "the client waits for the GOAWAY");

    let mut download = Stream::open(&mut router, &resource(&flasher, None)).await.unwrap();
    // A client that lends a file to be written has nothing to send.
    download.goaway().await;
    let handle = download.handle();
    let (dumped, received) = tokio::join!(
        call(&mut client, &flasher, "dump", vec![handle.clone()]),
        download.receive_all()
    );
    dumped.unwrap();
    assert!(received == image);

    let error = call(&mut client, &flasher, "dump", vec![handle]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("it was used before, or its stream has ended"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_image_is_unpacked() {
    let (_exporter, mut client, mut router) = ready("").await;
    let flasher = driver(&mut client, "flasher").await;
    // `printf 'hello hello hello\n' | gzip -n`.
    let packed = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
        0x57, 0xc8, 0x40, 0x90, 0x5c, 0x00, 0x3b, 0x7c, 0x8a, 0xdf, 0x12, 0x00, 0x00, 0x00,
    ];
    let upload = Stream::open(&mut router, &resource(&flasher, Some("gzip"))).await.unwrap();
    assert_eq!(upload.metadata.get("x_jmp_accept_encoding").unwrap(), "gzip");
    upload.send(packed[..10].to_vec()).await;
    upload.send(packed[10..].to_vec()).await;
    upload.goaway().await;
    call(&mut client, &flasher, "flash", vec![upload.handle()]).await.unwrap();

    let mut download = Stream::open(&mut router, &resource(&flasher, None)).await.unwrap();
    let handle = download.handle();
    let (dumped, received) =
        tokio::join!(call(&mut client, &flasher, "dump", vec![handle]), download.receive_all());
    dumped.unwrap();
    assert_eq!(received, b"hello hello hello\n");

    let cut = Stream::open(&mut router, &resource(&flasher, Some("gzip"))).await.unwrap();
    cut.send(packed[..20].to_vec()).await;
    cut.goaway().await;
    let error = call(&mut client, &flasher, "flash", vec![cut.handle()]).await.unwrap_err();
    assert!(error.message().contains("gzip") && error.message().contains("early"), "{error}");

    let mut download = Stream::open(&mut router, &resource(&flasher, None)).await.unwrap();
    let handle = download.handle();
    let (dumped, received) =
        tokio::join!(call(&mut client, &flasher, "dump", vec![handle]), download.receive_all());
    dumped.unwrap();
    assert_eq!(received, b"hello hello hello\n", "the failed flash has left it as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_leaves_nothing_behind() {
    let (exporter, mut client, _) = ready("").await;
    let flasher = driver(&mut client, "flasher").await;
    let cable = Cable::to(&exporter).await;
    let upload = Stream::open(&mut cable.router().await, &resource(&flasher, None)).await.unwrap();
    upload.send("half an image").await;
    let handle = upload.handle();
    let flash = call(&mut client, &flasher, "flash", vec![handle.clone()]);
    let (error, ()) = tokio::join!(flash, cable.cut());
    let error = error.unwrap_err();
    assert!(
        error.message().contains("the client's stream broke off")
            || error.message().contains("its stream has ended"),
        "{error}"
    );
    let error = call(&mut client, &flasher, "dump", vec![handle]).await.unwrap_err();
    assert!(error.message().contains("its stream has ended"), "{error}");
}

/// A connection that can be cut, as when a client's host loses power.
struct Cable {
    address: String,
    wire: tokio::task::JoinSet<()>,
}

impl Cable {
    async fn to(exporter: &ExporterUnderTest) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let far = exporter.address.trim_start_matches("http://").to_owned();
        let mut wire = tokio::task::JoinSet::new();
        wire.spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(far).await.unwrap();
            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
        });
        Self { address, wire }
    }

    async fn router(&self) -> Router {
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        RouterServiceClient::new(endpoint.connect().await.unwrap())
    }

    async fn cut(mut self) {
        self.wire.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_no_driver_touches_is_ended() {
    let (_exporter, mut client, mut router) = ready("").await;
    let flasher = driver(&mut client, "flasher").await;
    let mut upload = Stream::open(&mut router, &resource(&flasher, None)).await.unwrap();
    let nowhere = Value { kind: Some(Kind::StringValue("../out".into())) };
    let error = call(&mut client, &flasher, "flash", vec![upload.handle(), nowhere]).await;
    assert_eq!(error.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(upload.receive_all().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_belongs_to_its_driver_and_has_to_be_one() {
    let (_exporter, mut client, mut router) = ready("").await;
    let (flasher, echo) = (driver(&mut client, "flasher").await, driver(&mut client, "echo").await);
    let stream = Stream::open(&mut router, &resource(&echo, None)).await.unwrap();
    let error = call(&mut client, &flasher, "flash", vec![stream.handle()]).await.unwrap_err();
    assert!(error.message().contains("is open for this driver"), "{error}");

    let text = Value { kind: Some(Kind::StringValue("image.bin".into())) };
    let error = call(&mut client, &flasher, "flash", vec![text]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("not a resource handle: "), "{error}");

    let stream = Stream::open(&mut router, &resource(&flasher, Some("lzma"))).await.unwrap();
    let error = call(&mut client, &flasher, "flash", vec![stream.handle()]).await.unwrap_err();
    assert!(error.message().contains("gzip, xz, bz2"), "{error}");
}
