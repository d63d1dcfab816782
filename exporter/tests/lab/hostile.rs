//! Clients that mean harm, or are broken: they are told so, and nobody else notices.

use bytes::Bytes;
use exporter::lab::desk::CLIENT_LEASES;
use exporter::wire::client::{DeleteLeaseRequest, GetLeaseRequest, Lease};
use exporter::wire::{FrameType, StreamRequest};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Code;

use crate::lab_under_test::{DEADLINE, LabUnderTest, condition, whole};
use crate::streams::opens;

const BENCHES: &[(&str, &str)] = &[("one", "labels: {for: ann}"), ("two", "labels: {for: eve}")];

#[tokio::test]
async fn nobody_touches_the_lease_of_another() {
    let lab = LabUnderTest::start(BENCHES).await;
    let (ann, eve) = (lab.client("ann").await, lab.client("eve").await);
    ann.lease("mine", "for=ann", 60).await.unwrap();
    let request = eve.says(DeleteLeaseRequest { name: whole("mine") });
    let denied = eve.service().delete_lease(request).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::Unknown, "DeleteLease permission denied"));
    let denied = eve.dial("mine").await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::Unknown, "permission denied"));
    assert_eq!(condition(&ann.see("mine").await.unwrap()), "Ready True Ready");
    ann.dial("mine").await.unwrap();
    lab.stop().await;
}

#[tokio::test]
async fn names_that_lead_nowhere_are_refused() {
    let lab = LabUnderTest::start(BENCHES).await;
    let eve = lab.client("eve").await;
    let huge = "x".repeat(1 << 20);
    for (name, code) in [
        ("", Code::InvalidArgument),
        ("namespaces/default/leases/../../x", Code::InvalidArgument),
        ("namespaces/default/leases/a\nb", Code::Unknown),
        ("namespaces/default/exporters/x", Code::InvalidArgument),
        (&whole(&huge), Code::Unknown),
        (&"/".repeat(1 << 20), Code::InvalidArgument),
    ] {
        let request = eve.says(GetLeaseRequest { name: name.into() });
        let refused = eve.service().get_lease(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().len() < 500, "what was sent is not sent back");
    }
    for name in ["a/b", "a\nb", "..", "A", &huge, "x\0"] {
        let refused = eve.lease(name, "for=eve", 60).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unknown, "{refused}");
    }
    for selector in ["a==b==c", "a in", "x=\u{1}", &huge, &"a,".repeat(1 << 19)] {
        let refused = eve.lease("", selector, 60).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unknown, "{refused}");
        assert!(refused.message().len() < 500);
    }
    for seconds in [0, -1, i64::MAX, i64::MIN] {
        let refused = eve.lease("", "for=eve", seconds).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unknown, "{refused}");
    }
    let nothing = eve.create("", Lease::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    assert_eq!(nothing.message(), "one of selector or exporter_name is required");
    lab.stop().await;
}

#[tokio::test]
async fn a_message_of_more_than_four_mebibytes_is_exhausting() {
    let lab = LabUnderTest::start(BENCHES).await;
    let (ann, eve) = (lab.client("ann").await, lab.client("eve").await);
    let refused = eve.lease("", &"x".repeat((4 << 20) + 1), 60).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    eve.lease("own", "for=eve", 60).await.unwrap();
    let token = eve.dial("own").await.unwrap().router_token;
    let (outbound, frames) = mpsc::channel(1);
    let mut replies = eve.router().stream(opens(&token, frames)).await.unwrap().into_inner();
    let payload = Bytes::from(vec![0; (4 << 20) + 1]);
    outbound.send(StreamRequest { payload, frame_type: FrameType::Data.into() }).await.unwrap();
    let end = async {
        loop {
            if let Some(Err(status)) = replies.next().await {
                return status;
            }
        }
    };
    let status = timeout(DEADLINE, end).await.expect("the stream ends");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    ann.lease("mine", "for=ann", 60).await.unwrap();
    lab.stop().await;
}

#[tokio::test]
async fn a_flood_of_leases_ends_at_the_limit_and_others_are_served() {
    let lab = LabUnderTest::start(BENCHES).await;
    let (ann, eve) = (lab.client("ann").await, lab.client("eve").await);
    let flood = async {
        let mut codes = Vec::new();
        for part in 0..=CLIENT_LEASES / 100 {
            let some = (0..100).map(|number| {
                let (eve, name) = (eve.clone(), format!("lease-{part}-{number}"));
                async move { eve.lease(&name, "for=eve", 3600).await.map_err(|it| it.code()) }
            });
            codes.extend(join_all(some).await.into_iter().filter_map(Result::err));
        }
        codes
    };
    let (codes, mine) = tokio::join!(flood, ann.lease("mine", "for=ann", 3600));
    assert_eq!(condition(&mine.unwrap()), "Ready True Ready");
    assert_eq!(codes, vec![Code::ResourceExhausted; 100]);
    ann.dial("mine").await.unwrap();
    lab.stop().await;
}

#[tokio::test]
async fn ten_thousand_streams_that_never_read_are_few() {
    let lab = LabUnderTest::start(BENCHES).await;
    let (ann, eve) = (lab.client("ann").await, lab.client("eve").await);
    ann.lease("mine", "for=ann", 60).await.unwrap();
    eve.lease("own", "for=eve", 60).await.unwrap();
    let (mut open, mut refusals) = (Vec::new(), 0);
    for _ in 0..40 {
        // A connection takes so many streams and no more.
        let eve = crate::lab_under_test::Client { channel: lab.channel().await, ..eve.clone() };
        for _ in 0..25 {
            let token = eve.dial("own").await.unwrap().router_token;
            let (outbound, frames) = mpsc::channel(1);
            match eve.router().stream(opens(&token, frames)).await {
                Ok(replies) => open.push((replies, outbound)),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refusals += 1;
                }
            }
        }
    }
    assert_eq!((open.len(), refusals), (512, 488));
    ann.dial("mine").await.expect("others go on");
    let request = eve.says(DeleteLeaseRequest { name: whole("own") });
    eve.service().delete_lease(request).await.unwrap();
    let ends = open
        .iter_mut()
        .map(|(replies, _)| async { while let Some(Ok(_)) = replies.get_mut().next().await {} });
    timeout(DEADLINE, join_all(ends)).await.expect("the end of the lease ends them");
    lab.stop().await;
}
