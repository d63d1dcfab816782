//! The life of the standing lease, as clients see it.

use exporter::wire::{EndSessionRequest, ExporterStatus};
use tonic::Code;

use crate::exporter_under_test::*;

const BOTH: &str = "hooks:
  beforeLease: {script: 'echo before >> $DIR/record'}
  afterLease: {script: 'echo after >> $DIR/record'}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_goes_through_its_states_and_the_next_begins() {
    let exporter = ExporterUnderTest::start(BOTH).await;
    let mut client = exporter.client().await;
    let ready = wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert_eq!(ready.message(), "Ready for commands");
    assert_eq!(
        (ready.status_version, ready.previous_status()),
        (2, ExporterStatus::BeforeLeaseHook)
    );

    let ended = client.end_session(EndSessionRequest {}).await.unwrap().into_inner();
    assert!(ended.success);
    assert_eq!(ended.message(), "Session end triggered, afterLease hook running asynchronously");
    let available = wait_for(&mut client, ExporterStatus::Available).await;
    assert_eq!(available.message(), "Available for new lease");
    assert_eq!(available.status_version, 4);
    let again = wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert_eq!(again.status_version, 6);
    assert_eq!(written(&exporter.file("record")).await, "before\nafter\nbefore\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_to_wait_for_the_hook_and_a_hook_has_not() {
    let hooks = "hooks: {beforeLease: {script: 'mkfifo $DIR/gate; echo $JUMPSTARTER_HOST > $DIR/host; read go < $DIR/gate'}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    let power = driver(&mut client, "power").await;
    let host = written(&exporter.file("host")).await;

    let refused = call(&mut client, &power, "on", vec![]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        refused.message(),
        "Exporter not ready for driver calls (status: BEFORE_LEASE_HOOK)"
    );
    let mut hook = connect(format!("unix:{}", host.trim_end())).await;
    assert!(call(&mut hook, &power, "on", vec![]).await.is_ok());

    tokio::fs::write(exporter.file("gate"), "go\n").await.unwrap();
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert!(call(&mut client, &power, "on", vec![]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_the_hooks_goes_with_the_lease() {
    let hooks = "hooks: {beforeLease: {script: 'echo $JUMPSTARTER_HOST >> $DIR/hosts'}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let host = written(&exporter.file("hosts")).await;
    let host = std::path::Path::new(host.trim_end());
    assert!(host.exists());
    client.end_session(EndSessionRequest {}).await.unwrap();
    wait_for(&mut client, ExporterStatus::Available).await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert!(!host.exists());
    let hosts = written(&exporter.file("hosts")).await;
    let hosts: Vec<_> = hosts.lines().collect();
    assert_eq!(hosts.len(), 2);
    assert_ne!(hosts[0], hosts[1]);
    exporter.stop().await;
    assert!(!std::path::Path::new(hosts[1]).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_preparation_is_seen_and_tried_again() {
    let hooks = "hooks:
  beforeLease: {script: 'test -e $DIR/repaired', onFailure: endLease}
  afterLease: {script: 'echo after >> $DIR/record'}
";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    let failed = wait_for(&mut client, ExporterStatus::BeforeLeaseHookFailed).await;
    assert_eq!(
        failed.message(),
        "beforeLease hook failed (on_failure=endLease): Hook failed with exit code 1"
    );
    std::fs::write(exporter.file("repaired"), "").unwrap();
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert!(!exporter.file("record").exists(), "there was nothing to clean up");
    assert_eq!(exporter.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_cleanup_is_seen_and_the_next_lease_begins() {
    let hooks = "hooks: {afterLease: {script: 'exit 5', onFailure: endLease}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    client.end_session(EndSessionRequest {}).await.unwrap();
    let failed = wait_for(&mut client, ExporterStatus::AfterLeaseHookFailed).await;
    assert_eq!(
        failed.message(),
        "afterLease hook failed (on_failure=endLease): Hook failed with exit code 5"
    );
    wait_for(&mut client, ExporterStatus::Available).await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_failure_exit_takes_the_exporter_down_with_code_1_after_it_was_seen() {
    let hooks = "hooks: {beforeLease: {script: 'mkfifo $DIR/gate; read go < $DIR/gate; exit 7', onFailure: exit}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::BeforeLeaseHook).await;
    let gate = exporter.file("gate");
    let open = async {
        while tokio::fs::metadata(&gate).await.is_err() {
            tokio::task::yield_now().await;
        }
        tokio::fs::write(&gate, "go\n").await.unwrap();
    };
    let (failed, ()) =
        tokio::join!(wait_for(&mut client, ExporterStatus::BeforeLeaseHookFailed), open);
    assert_eq!(
        failed.message(),
        "beforeLease hook failed (on_failure=exit, shutting down): Hook failed with exit code 7"
    );
    assert_eq!(exporter.exit_code().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cleans_up_and_ends_with_code_0() {
    let exporter = ExporterUnderTest::start(BOTH).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let record = exporter.file("record");
    exporter.shutdown.drain.cancel();
    let both = async {
        while written(&record).await != "before\nafter\n" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, both).await.expect("afterLease runs");
    assert_eq!(exporter.exit_code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_running_before_lease_hook() {
    let hooks = "hooks:
  beforeLease: {script: 'echo up > $DIR/up; sleep 1000', timeout: 900}
  afterLease: {script: 'echo after > $DIR/after'}
";
    let exporter = ExporterUnderTest::start(hooks).await;
    written(&exporter.file("up")).await;
    let after = exporter.file("after");
    exporter.shutdown.drain.cancel();
    assert_eq!(written(&after).await, "after\n");
    assert_eq!(exporter.exit_code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stop_waits_for_nothing() {
    let hooks = "hooks: {afterLease: {script: 'echo up > $DIR/up; trap \"\" TERM; sleep 1000', timeout: 900}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    exporter.shutdown.drain.cancel();
    written(&exporter.file("up")).await;
    exporter.shutdown.abort.cancel();
    assert_eq!(exporter.exit_code().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_day_is_added_for_one_lease() {
    let hooks = "hooks: {beforeLease: {script: 'test -e $DIR/said || echo board 7 > $JMP_MOTD_FILE; touch $DIR/said'}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let motd = client.get_report(()).await.unwrap().into_inner().motd;
    assert_eq!(motd, "welcome\nboard 7");
    client.end_session(EndSessionRequest {}).await.unwrap();
    wait_for(&mut client, ExporterStatus::Available).await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert_eq!(client.get_report(()).await.unwrap().into_inner().motd, "welcome");
}
