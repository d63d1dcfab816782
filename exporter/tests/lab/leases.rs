//! Leases, as a client asks for them.

use std::time::Duration;

use exporter::wire::client::{
    DeleteLeaseRequest, GetExporterRequest, Lease, ListExportersRequest, ListLeasesRequest,
    UpdateLeaseRequest,
};
use jiff::Timestamp;
use tokio::time::Instant;
use tonic::Code;

use crate::lab_under_test::{Client, LabUnderTest, condition, whole};

const BENCH: &[(&str, &str)] = &[("bench", "labels: {board: demo}")];

async fn delete(client: &Client, name: &str) -> Result<(), tonic::Status> {
    let request = client.says(DeleteLeaseRequest { name: whole(name) });
    client.service().delete_lease(request).await.map(drop)
}

#[tokio::test]
async fn a_free_bench_is_the_clients_when_create_lease_returns() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    let lease = ann.lease("one", "board=demo", 60).await.unwrap();
    assert_eq!(condition(&lease), "Ready True Ready");
    assert_eq!(lease.exporter(), "namespaces/default/exporters/bench");
    assert_eq!(lease.client(), "namespaces/default/clients/ann");
    delete(&ann, "one").await.unwrap();
    let lease = ann.see("one").await.unwrap();
    assert_eq!(condition(&lease), "Ready False Released");
    let again = delete(&ann, "one").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(again.message(), "lease \"one\" has already been released");
    let taken = ann.lease("one", "board=demo", 60).await.unwrap_err();
    assert_eq!(taken.code(), Code::Unknown, "also if its lease is over: {taken}");
    lab.stop().await;
}

#[tokio::test]
async fn two_clients_have_the_bench_one_after_the_other() {
    let lab = LabUnderTest::start(BENCH).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    ann.lease("one", "board=demo", 60).await.unwrap();
    let waiting = bob.lease("two", "board=demo", 60).await.unwrap();
    assert_eq!(condition(&waiting), "Pending True NotAvailable");
    delete(&ann, "one").await.unwrap();
    bob.waits_for("two", "Ready True Ready").await;
    lab.stop().await;
}

#[tokio::test]
async fn a_lease_ends_to_the_second_and_the_next_begins() {
    let lab = LabUnderTest::start(BENCH).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    let start = Instant::now();
    ann.lease("one", "board=demo", 2).await.unwrap();
    bob.lease("two", "board=demo", 60).await.unwrap();
    ann.waits_for("one", "Ready False Expired").await;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
    bob.waits_for("two", "Ready True Ready").await;
    lab.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_leases_their_queue_and_their_clients() {
    let lab = LabUnderTest::start(BENCH).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    ann.lease("one", "board=demo", 600).await.unwrap();
    bob.lease("two", "board=demo", 600).await.unwrap();
    bob.lease("three", "board=demo", 600).await.unwrap();
    let lab = lab.crash_and_restart().await;
    let (ann, bob) = (
        Client { channel: lab.channel().await, ..ann },
        Client { channel: lab.channel().await, ..bob },
    );
    assert_eq!(condition(&ann.see("one").await.unwrap()), "Ready True Ready");
    ann.dial("one").await.unwrap();
    for waiting in ["two", "three"] {
        assert_eq!(condition(&bob.see(waiting).await.unwrap()), "Pending True NotAvailable");
    }
    delete(&ann, "one").await.unwrap();
    bob.waits_for("two", "Ready True Ready").await;
    assert_eq!(condition(&bob.see("three").await.unwrap()), "Pending True NotAvailable");
    lab.stop().await;
}

#[tokio::test]
async fn a_lease_can_be_scheduled_retimed_and_handed_over() {
    let lab = LabUnderTest::start(BENCH).await;
    let (ann, bob) = (lab.client("ann").await, lab.client("bob").await);
    let seconds = |after: i64| prost_types::Timestamp {
        seconds: Timestamp::now().as_second() + after,
        nanos: 0,
    };
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let wanted = Lease {
        selector: "board".into(),
        begin_time: Some(seconds(2)),
        duration: duration(60),
        ..Lease::default()
    };
    let scheduled = ann.create("one", wanted).await.unwrap();
    assert_eq!(condition(&scheduled), "", "as the controller has it");
    ann.waits_for("one", "Ready True Ready").await;

    let update = |lease: Lease| {
        let lease = Some(Lease { name: whole("one"), ..lease });
        UpdateLeaseRequest { lease, update_mask: None }
    };
    let longer = Lease { duration: duration(600), ..Lease::default() };
    let request = ann.says(update(longer.clone()));
    let updated = ann.service().update_lease(request).await.unwrap().into_inner();
    assert_eq!(updated.duration.unwrap().seconds, 600);

    let denied = bob.service().update_lease(bob.says(update(longer))).await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::Unknown, "UpdateLease permission denied"));
    let to = |client: &str| Lease { client: Some(client.into()), ..Lease::default() };
    let nobody = update(to("namespaces/default/clients/carol"));
    let refused = ann.service().update_lease(ann.says(nobody)).await.unwrap_err();
    assert!(refused.message().starts_with("target client not found"), "{refused}");
    let request = update(to("namespaces/default/clients/bob"));
    let handed = ann.service().update_lease(ann.says(request)).await.unwrap().into_inner();
    assert_eq!(handed.client(), "namespaces/default/clients/bob");
    let refused = ann.dial("one").await.unwrap_err();
    assert_eq!(refused.message(), "permission denied", "clients take it as transferred");
    bob.dial("one").await.unwrap();
    lab.stop().await;
}

#[tokio::test]
async fn lists_have_filters_and_pages() {
    let lab = LabUnderTest::start(&[
        ("bench-1", "labels: {board: demo, rack: '1'}"),
        ("bench-2", "labels: {board: demo, rack: '2'}"),
    ])
    .await;
    let ann = lab.client("ann").await;
    let exporters = |filter: &str, page_token: &str| ListExportersRequest {
        parent: "namespaces/default".into(),
        page_size: 1,
        page_token: page_token.into(),
        filter: filter.into(),
        show_hidden_labels: false,
    };
    let list = |request| {
        let ann = ann.clone();
        async move { ann.service().list_exporters(ann.says(request)).await.unwrap().into_inner() }
    };
    let first = list(exporters("board in (demo)", "")).await;
    assert_eq!(first.exporters[0].name, "namespaces/default/exporters/bench-1");
    assert!(first.exporters[0].online);
    let second = list(exporters("board in (demo)", &first.next_page_token)).await;
    assert_eq!(second.exporters[0].name, "namespaces/default/exporters/bench-2");
    assert_eq!(second.next_page_token, "");
    assert_eq!(list(exporters("rack!=1", "")).await.exporters[0].labels["rack"], "2");

    for (name, tag) in [("one", "x"), ("two", "y"), ("three", "x")] {
        let wanted = Lease {
            selector: "board=demo".into(),
            duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            tags: [("ci".to_owned(), tag.to_owned())].into(),
            ..Lease::default()
        };
        ann.create(name, wanted).await.unwrap();
    }
    delete(&ann, "one").await.unwrap();
    let leases = |tags: &str, only_active: Option<bool>| {
        let request = ListLeasesRequest {
            parent: "namespaces/default".into(),
            filter: "board=demo".into(),
            tag_filter: Some(tags.into()),
            only_active,
            ..ListLeasesRequest::default()
        };
        let ann = ann.clone();
        async move {
            let list = ann.service().list_leases(ann.says(request)).await.unwrap().into_inner();
            list.leases.into_iter().map(|lease| lease.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(leases("ci=x", None).await, [whole("three")]);
    assert_eq!(leases("ci=x", Some(false)).await, [whole("one"), whole("three")]);
    assert_eq!(leases("ci", Some(true)).await, [whole("three"), whole("two")]);
    lab.stop().await;
}

#[tokio::test]
async fn what_nothing_satisfies_is_over_at_once() {
    let lab = LabUnderTest::start(BENCH).await;
    let ann = lab.client("ann").await;
    let lease = ann.lease("one", "board=other", 60).await.unwrap();
    assert_eq!(condition(&lease), "Unsatisfiable True NoAccess");
    lab.stop().await;
}

#[tokio::test]
async fn an_exporter_that_fails_loses_its_lease_and_touches_no_other() {
    let done = tempfile::tempdir().unwrap();
    let log = done.path().join("done");
    let hooks = format!(
        "labels: {{board: demo}}\nhooks: {{afterLease: {{script: 'echo $LEASE_NAME >> {}'}}}}",
        log.display()
    );
    let benches = [("bench-1", hooks.as_str()), ("bench-2", "labels: {board: other}")];
    let mut lab = LabUnderTest::start(&benches).await;
    let ann = lab.client("ann").await;
    ann.lease("one", "board=demo", 600).await.unwrap();
    ann.lease("two", "board=other", 600).await.unwrap();
    for lease in ["one", "two"] {
        // Its exporter has begun with it.
        ann.dial(lease).await.unwrap();
    }
    lab.fail("bench-1").await;
    ann.waits_for("one", "Ready False Released").await;
    let get = |name: &str| GetExporterRequest {
        name: format!("namespaces/default/exporters/{name}"),
        ..GetExporterRequest::default()
    };
    let failed = ann.service().get_exporter(ann.says(get("bench-1"))).await.unwrap().into_inner();
    assert!(!failed.online, "{failed:?}");
    assert_eq!(failed.labels["board"], "demo", "what it is chosen by is still known");
    let waiting = ann.lease("three", "board=demo", 600).await.unwrap();
    assert_eq!(condition(&waiting), "Pending True Offline");

    lab.run("bench-1").await;
    ann.waits_for("three", "Ready True Ready").await;
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\n", "it was cleaned up after");
    ann.dial("three").await.unwrap();
    assert_eq!(condition(&ann.see("two").await.unwrap()), "Ready True Ready");
    lab.stop().await;
}
