//! What clients hear.

use exporter::wire::{ExporterStatus, LogSource};

use crate::exporter_under_test::*;

#[tokio::test(flavor = "multi_thread")]
async fn late_readers_hear_the_whole_hook_and_all_hear_all() {
    let hooks = "hooks: {beforeLease: {script: 'seq 1 1000'}, afterLease: {script: echo bye}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(client.log_stream(()).await.unwrap().into_inner());
    }
    for reader in &mut readers {
        for number in 1..=1000 {
            let line = hook_line(reader).await;
            assert_eq!(line, (LogSource::BeforeLeaseHook, number.to_string()));
        }
    }
    exporter.shutdown.drain.cancel();
    for reader in &mut readers {
        assert_eq!(hook_line(reader).await, (LogSource::AfterLeaseHook, "bye".into()));
    }
    assert_eq!(exporter.exit_code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_arrive_while_the_hook_runs() {
    let hooks = "hooks: {beforeLease: {script: 'mkfifo $DIR/gate; echo waiting; read go < $DIR/gate; echo $go'}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    let mut log = client.log_stream(()).await.unwrap().into_inner();
    assert_eq!(hook_line(&mut log).await.1, "waiting");
    assert_eq!(status(&mut client).await.status(), ExporterStatus::BeforeLeaseHook);
    tokio::fs::write(exporter.file("gate"), "on we go\n").await.unwrap();
    assert_eq!(hook_line(&mut log).await.1, "on we go");
    wait_for(&mut client, ExporterStatus::LeaseReady).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_with_the_source_of_the_hook() {
    let hooks = "hooks: {beforeLease: {script: 'exit 3'}}";
    let exporter = ExporterUnderTest::start(hooks).await;
    let mut client = exporter.client().await;
    let ready = wait_for(&mut client, ExporterStatus::LeaseReady).await;
    assert_eq!(
        ready.message(),
        "[HOOK_WARNING] beforeLease hook warning: Hook failed with exit code 3"
    );
    let mut log = client.log_stream(()).await.unwrap().into_inner();
    assert_eq!(
        hook_line(&mut log).await,
        (
            LogSource::BeforeLeaseHook,
            "Hook failed with exit code 3 (on_failure=warn, continuing)".into()
        )
    );
}
