//! What the exporter says, for a telemetry service.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;

use super::super::testing::{Fault, Rpc};
use super::world::{HOOKS, World};
use crate::session::log::{Record, Severity, Source};
use crate::wire::{ExporterStatus as Shown, LogEntry};

fn say(world: &World, severity: Severity, message: &str) {
    world.bench.log.push(Record::new(severity, Source::System, message));
}

fn pushed(world: &World) -> Vec<LogEntry> {
    world.fake.pushed().concat()
}

/// Waits until a line has come to the service; returns it.
async fn heard(world: &World, message: &str) -> LogEntry {
    let has = |entry: &LogEntry| entry.message == message;
    world.fake.until(|fake| fake.pushed().concat().iter().any(has)).await;
    pushed(world).into_iter().find(has).unwrap()
}

/// A world whose controller names a service for these lines, and that has heard of it.
async fn world(severity: &str) -> World {
    world_with(severity, HOOKS).await
}

async fn world_with(severity: &str, hooks: &str) -> World {
    let world = World::with(hooks).await;
    world.fake.has_telemetry(severity);
    world.fake.restart();
    world.fake.shows(Shown::Available).await;
    // The answer may still be on its way.
    sleep(Duration::from_secs(1)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn lines_of_the_wanted_severity_are_sent_in_batches() {
    let world = world("warning").await;
    say(&world, Severity::Info, "all is well");
    for line in 0..120 {
        say(&world, Severity::Warning, &format!("line {line}"));
    }
    let last = heard(&world, "line 119").await;
    assert_eq!((&*last.severity, &*last.component), ("warning", "exporter"));
    assert_eq!((&*last.exporter, &*last.namespace, &*last.lease), ("bench", "lab", ""));
    assert!(last.timestamp.is_some());
    let of_lines =
        |batch: &Vec<LogEntry>| batch.iter().filter(|it| it.message.starts_with("line ")).count();
    assert_eq!(world.fake.pushed().iter().map(of_lines).collect::<Vec<_>>(), [50, 50, 20]);
    assert!(!pushed(&world).iter().any(|entry| entry.severity == "info"));
}

#[tokio::test(start_paused = true)]
async fn lines_say_whose_lease_it_is_and_the_last_are_sent_at_the_end() {
    let hooks = "
  afterLease: {script: 'echo tidied up', timeout: 3600}
";
    let mut world = world_with("info", hooks).await;
    let client = world.leased("one", "alice").await;
    say(&world, Severity::Info, "in the lease");
    let entry = heard(&world, "in the lease").await;
    assert_eq!((&*entry.lease, &*entry.client), ("one", "alice"));
    client.end_session().await.unwrap();
    world.fake.shows(Shown::Available).await;
    say(&world, Severity::Error, "at the end");
    world.shutdown.drain.cancel();
    assert_eq!(world.stopped().await, 0);
    drop(client);
    // Nobody has the bench any more when the service hears of the end.
    let of = |message: &str| {
        let entry = pushed(&world).into_iter().find(|entry| entry.message == message).unwrap();
        (entry.lease, entry.client)
    };
    assert_eq!(of("tidied up"), ("one".into(), "alice".into()));
    assert_eq!(of("at the end"), Default::default());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_holds_nobody_up_and_gets_the_latest_when_it_is_back() {
    let world = world("info").await;
    world.fake.net.has("telemetry", Fault::Refused);
    for line in 0..10_100 {
        say(&world, Severity::Info, &format!("line {line}"));
    }
    world.leased("one", "alice").await.call().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    world.fake.net.has("telemetry", Fault::None);
    heard(&world, "line 10099").await;
    let lines = pushed(&world).iter().filter(|it| it.message.starts_with("line ")).count();
    assert!((9_000..=10_000).contains(&lines), "{lines} of the latest are sent");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_has_never_heard_of_it_is_left_in_peace() {
    let world = World::with(HOOKS).await;
    sleep(Duration::from_secs(3600)).await;
    world.fake.fail(Rpc::GetServiceEndpoints, [Code::Internal]);
    world.fake.restart();
    world.leased("one", "alice").await.call().await.unwrap();
    assert!(pushed(&world).is_empty());
    let mut reader = world.bench.log.reader();
    while let Some(record) = reader.try_next() {
        assert!(!record.message.contains("telemetry"), "{record:?}");
    }
}
