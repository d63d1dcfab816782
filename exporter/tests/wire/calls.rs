//! Reports and driver calls.

use exporter::wire::{ExporterStatus, ResetRequest, StreamingDriverCallRequest};
use prost_types::Value;
use prost_types::value::Kind;
use tonic::Code;

use crate::exporter_under_test::*;

fn number(value: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(value)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_shows_the_tree() {
    let exporter = ExporterUnderTest::start("").await;
    let mut client = exporter.client().await;
    let report = client.get_report(()).await.unwrap().into_inner();
    assert_eq!(report.labels["jumpstarter.dev/name"], "bench");
    assert_eq!(report.motd, "welcome");
    let [root, power, ..] = &report.reports[..] else { panic!("{report:?}") };
    assert_eq!(root.parent_uuid, None);
    assert!(!root.labels.contains_key("jumpstarter.dev/name"));
    assert_eq!(power.parent_uuid.as_ref(), Some(&root.uuid));
    assert_eq!(
        power.labels["jumpstarter.dev/client"],
        "jumpstarter_driver_power.client.PowerClient"
    );
    assert_eq!(exporter.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_can_be_called() {
    let exporter = ExporterUnderTest::start("").await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let power = driver(&mut client, "power").await;
    let result = call(&mut client, &power, "on", vec![]).await.unwrap().unwrap();
    assert_eq!(result.kind, Some(Kind::NullValue(0)));

    let request = StreamingDriverCallRequest { uuid: power, method: "read".into(), args: vec![] };
    let mut readings = client.streaming_driver_call(request).await.unwrap().into_inner();
    let mut voltages = Vec::new();
    while let Some(reading) = readings.message().await.unwrap() {
        let Some(Kind::StructValue(reading)) = reading.result.unwrap().kind else { panic!() };
        voltages.push(reading.fields["voltage"].clone());
    }
    assert_eq!(voltages, [number(0.0), number(5.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_is_told_what_is_wrong() {
    let exporter = ExporterUnderTest::start("").await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let power = driver(&mut client, "power").await;
    let mut error = async |uuid: &str, method: &str, args| {
        let error = call(&mut client, uuid, method, args).await.unwrap_err();
        (error.code(), error.message().to_owned())
    };
    assert_eq!(
        error(&power, "levitate", vec![]).await,
        (Code::NotFound, "method levitate not found on driver".into())
    );
    assert_eq!(
        error(&power, "read", vec![]).await,
        (Code::NotFound, "method read missing marker marker_drivercall".into())
    );
    assert_eq!(
        error(&power, "on", vec![number(1.0)]).await,
        (Code::InvalidArgument, "takes at most 0 arguments, but 1 were given".into())
    );
    assert_eq!(
        error(&power, "rescue", vec![]).await,
        (Code::Unimplemented, "this power switch has no rescue mode".into())
    );
    assert_eq!(
        error("nonsense", "on", vec![]).await,
        (Code::InvalidArgument, "driver uuid 'nonsense' is not a UUID".into())
    );
    let (code, message) = error("00000000-0000-4000-8000-000000000000", "on", vec![]).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.starts_with("no driver has the uuid 00000000-0000-4000-8000-000000000000"));

    let error = client.reset(ResetRequest {}).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_is_refused() {
    let exporter = ExporterUnderTest::start("").await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let power = driver(&mut client, "power").await;
    let long = Value { kind: Some(Kind::StringValue("x".repeat(4 * 1024 * 1024))) };
    let error = call(&mut client, &power, "on", vec![long]).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(call(&mut client, &power, "on", vec![]).await.is_ok(), "and the exporter goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passphrase_is_asked_for() {
    let exporter = ExporterUnderTest::start_with("", Some("open sesame")).await;
    let mut client = exporter.client().await;
    let mut report = async |passphrases: &[&'static str]| {
        let mut request = tonic::Request::new(());
        for passphrase in passphrases {
            let passphrase = passphrase.parse().unwrap();
            request.metadata_mut().append("x-jumpstarter-passphrase", passphrase);
        }
        client
            .get_report(request)
            .await
            .map(drop)
            .map_err(|error| (error.code(), error.message().to_owned()))
    };
    let refused = Err((Code::Unauthenticated, "invalid or missing passphrase".to_owned()));
    assert_eq!(report(&[]).await, refused);
    assert_eq!(report(&["open barley"]).await, refused);
    assert_eq!(report(&["open sesame", "open barley"]).await, refused, "the last one counts");
    assert_eq!(report(&["open sesame"]).await, Ok(()));
}
