//! Leases that a controller gives, and takes away.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use super::super::FAREWELL;
use super::super::testing::{Client, Fault, Reported};
use super::world::{HOOKS, World};
use crate::lease::scheduled::RELEASE_PATIENCE;
use crate::lease::status::Status;
use crate::wire::ExporterStatus as Shown;

/// A beforeLease hook that speaks, and waits until it is told to go on.
const PATIENT: &str = "
  beforeLease:
    script: |
      echo hello $CLIENT_NAME
      until test -e DIR/go; do sleep 0.02; done
      echo before $LEASE_NAME >> DIR/done
    timeout: 3600
  afterLease: {script: 'echo after $LEASE_NAME $LEASE_END_REASON >> DIR/done', timeout: 3600}
";

/// What the controller was told, without what was told before `count`.
fn told(world: &World, count: usize) -> Vec<Reported> {
    world.fake.told().split_off(count)
}

#[tokio::test(start_paused = true)]
async fn a_lease_from_its_beginning_to_its_end() {
    let world = World::with(HOOKS).await;
    assert_eq!(
        world.fake.told(),
        [Reported::Registered(2), Reported::Status(Shown::Available)],
        "the root and the driver"
    );
    let client = world.leased("one", "alice").await;
    client.call().await.unwrap();
    assert!(client.end_session().await.unwrap());
    world.fake.shows(Shown::Available).await;
    assert_eq!(client.status().await.unwrap(), Shown::Available, "it sees the end");
    assert_eq!(world.done(), ["before one alice", "after one alice"]);
    let told = told(&world, 2);
    let released = told.iter().position(|told| *told == Reported::Released("one".into())).unwrap();
    assert_eq!(told[released + 1..], [Reported::Status(Shown::Available)]);

    assert!(world.fake.schedule("two", "bob"));
    world.fake.shows(Shown::LeaseReady).await;
    let late = client.call().await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "whoever had the last lease is gone: {late}");
    let client = Client::connect(&world.fake, "two").await.unwrap();
    client.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn clients_see_the_before_lease_hook_live_and_use_the_bench_after_it() {
    let world = World::with(PATIENT).await;
    world.fake.lease("one", "alice");
    world.fake.shows(Shown::BeforeLeaseHook).await;
    let client = Client::connect(&world.fake, "one").await.unwrap();
    let mut logs = client.logs().await.unwrap();
    while logs.message().await.unwrap().unwrap().message != "hello alice" {}
    assert_eq!(client.status().await.unwrap(), Shown::BeforeLeaseHook);
    let refusal = client.call().await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("BEFORE_LEASE_HOOK"), "{refusal}");
    fs::write(world.path("go"), "").unwrap();
    world.bench_is(Status::LeaseReady).await;
    client.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_during_its_before_lease_hook_is_cleaned_up_after() {
    let world = World::with(PATIENT).await;
    world.fake.lease("one", "alice");
    world.fake.shows(Shown::BeforeLeaseHook).await;
    world.fake.end_lease();
    fs::write(world.path("go"), "").unwrap();
    world.fake.shows(Shown::Available).await;
    assert_eq!(world.done(), ["before one", "after one withdrawn"]);
    assert!(!world.fake.told().contains(&Reported::Status(Shown::LeaseReady)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_uses_ends_when_the_controller_says_so() {
    let world = World::with(HOOKS).await;
    world.fake.lease("one", "alice");
    world.fake.shows(Shown::LeaseReady).await;
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.fake.status(), Some(Shown::LeaseReady));
    world.fake.end_lease();
    world.fake.shows(Shown::Available).await;
    assert_eq!(world.done(), ["before one alice", "after one alice"]);
    let released = |told: &Reported| matches!(told, Reported::Released(_));
    assert!(!world.fake.told().iter().any(released), "the controller knows");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_during_its_after_lease_hook_ends_once() {
    let hooks = "
  afterLease:
    script: |
      until test -e DIR/go; do sleep 0.02; done
      echo after $LEASE_NAME >> DIR/done
    timeout: 3600
";
    let world = World::with(hooks).await;
    let client = world.leased("one", "alice").await;
    client.end_session().await.unwrap();
    world.fake.shows(Shown::AfterLeaseHook).await;
    // The client has deleted it, and the next one has come.
    world.fake.lease("two", "bob");
    fs::write(world.path("go"), "").unwrap();
    world.fake.shows(Shown::LeaseReady).await;
    assert_eq!(world.done(), ["after one"]);
    assert_eq!(world.fake.held().as_deref(), Some("two"));
    Client::connect(&world.fake, "two").await.unwrap().call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_name_is_another_lease() {
    let world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    client.call().await.unwrap();
    world.fake.lease("two", "alice");
    world.is_prepared("before two alice").await;
    let expected = ["before one alice", "after one alice", "before two alice"];
    assert_eq!(world.done(), expected);
    let client = Client::connect(&world.fake, "two").await.unwrap();
    client.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_transferred_lease_goes_on_with_its_new_client() {
    let world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    world.fake.lease("one", "bob");
    // Nothing is told of it; a lease whose duration was changed looks the same, too.
    sleep(Duration::from_secs(60)).await;
    let other = Client::connect(&world.fake, "one").await.unwrap();
    other.call().await.unwrap();
    other.end_session().await.unwrap();
    world.fake.shows(Shown::Available).await;
    assert_eq!(world.done(), ["before one alice", "after one bob"]);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_never_comes_is_harmless() {
    let world = World::with("").await;
    let client = world.leased("one", "alice").await;
    for _ in 0..20 {
        world.fake.dial("one").await.unwrap();
        // The queue is eight deep.
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(world.fake.lone_streams(), 20);
    client.call().await.unwrap();
    world.fake.end_lease();
    world.fake.shows(Shown::Available).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.fake.lone_streams(), 0, "they end with the lease");
}

#[tokio::test(start_paused = true)]
async fn an_old_controller_gets_its_lease_back_in_the_old_way() {
    let world = World::with(HOOKS).await;
    world.fake.is_old();
    let client = world.leased("one", "alice").await;
    client.end_session().await.unwrap();
    world.fake.shows(Shown::Available).await;
    assert!(world.fake.told().contains(&Reported::ReleasedByStatus(Shown::AfterLeaseHook)));
    assert_eq!(world.fake.held(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bench_that_is_out_of_service_gives_a_lease_back_at_once() {
    let hooks = "
  beforeLease: {script: 'false', onFailure: quarantine, timeout: 3600}
";
    let world = World::with(hooks).await;
    world.fake.lease("one", "alice");
    world.fake.until(|fake| fake.held().is_none()).await;
    world.fake.shows(Shown::BeforeLeaseHookFailed).await;
    world.fake.lease("two", "bob");
    world.fake.until(|fake| fake.held().is_none()).await;
    assert_eq!(world.fake.status(), Some(Shown::BeforeLeaseHookFailed));
}

#[tokio::test(start_paused = true)]
async fn a_failed_after_lease_hook_does_not_keep_the_next_lease_away() {
    let hooks = "
  afterLease: {script: 'false', onFailure: endLease, timeout: 3600}
";
    let world = World::with(hooks).await;
    let client = world.leased("one", "alice").await;
    client.end_session().await.unwrap();
    world.fake.until(|fake| fake.held().is_none()).await;
    world.fake.shows(Shown::Available).await;
    world.leased("two", "bob").await.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_told_to_stop_in_a_lease_leaves_in_good_order() {
    let mut world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    let before = world.fake.told().len();
    world.shutdown.drain.cancel();
    // As `jmp` does, it asks until it hears that the lease is over.
    let hears = async {
        while client.status().await.unwrap() != Shown::Available {
            sleep(Duration::from_millis(300)).await;
        }
    };
    let ((), code) = tokio::join!(hears, world.stopped());
    assert_eq!(code, 0);
    drop(client);
    assert_eq!(world.done(), ["before one alice", "after one alice"]);
    let told = told(&world, before);
    let last = [Reported::Status(Shown::Offline), Reported::Unregistered];
    assert!(told.contains(&Reported::Released("one".into())), "{told:?}");
    assert!(told.ends_with(&last), "{told:?}");
    assert!(!told.contains(&Reported::Status(Shown::Available)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn preemption_hooks_come_before_the_after_lease_hook() {
    let hooks = "
  afterLease: {script: 'echo after $LEASE_END_REASON >> DIR/done', timeout: 3600}
  lifecycle:
    - {run: 'echo $HOOK_EVENT >> DIR/done', timeout: 3600}
";
    let mut world = World::with(hooks).await;
    drop(world.leased("one", "alice").await);
    world.shutdown.drain.cancel();
    assert_eq!(world.stopped().await, 0);
    assert_eq!(world.done(), ["preemption", "after exporter-stopping"]);
    let mut idle = World::with(hooks).await;
    idle.shutdown.drain.cancel();
    assert_eq!(idle.stopped().await, 0);
    assert_eq!(idle.done(), ["stop"]);
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_told_twice_goes_at_once() {
    let hooks = "
  afterLease: {script: 'echo begun >> DIR/done; sleep 600; echo ended >> DIR/done', timeout: 3600}
";
    let mut world = World::with(hooks).await;
    drop(world.leased("one", "alice").await);
    world.shutdown.drain.cancel();
    world.bench_is(Status::AfterLeaseHook).await;
    world.shutdown.abort.cancel();
    let start = Instant::now();
    assert_eq!(world.stopped().await, 1);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(!world.done().contains(&"ended".to_owned()));
    assert!(!world.fake.told().contains(&Reported::Unregistered), "there is no time for that");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_to_a_controller_that_is_back_in_time() {
    let mut world = World::with(HOOKS).await;
    drop(world.leased("one", "alice").await);
    world.fake.net.has("controller", Fault::Refused);
    world.shutdown.drain.cancel();
    world.bench_is(Status::Offline).await;
    sleep(FAREWELL / 2).await;
    world.fake.net.has("controller", Fault::None);
    assert_eq!(world.stopped().await, 0);
    assert_eq!(world.fake.held(), None);
    assert!(world.fake.told().contains(&Reported::Unregistered));
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_gone_keeps_nobody_from_going() {
    let mut world = World::with(HOOKS).await;
    drop(world.leased("one", "alice").await);
    world.fake.net.has("controller", Fault::Silent);
    let start = Instant::now();
    world.shutdown.drain.cancel();
    assert_eq!(world.stopped().await, 0);
    // Hooks take no time here.
    let limit = RELEASE_PATIENCE + FAREWELL + Duration::from_secs(5);
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
    assert_eq!(world.done(), ["before one alice", "after one alice"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_lease_goes_on_with_it_or_cleans_it_up() {
    let world = World::that_remembers(HOOKS).await;
    world.leased("one", "alice").await;
    let before = world.fake.told().len();
    let world = world.crash().await;
    let ready = Reported::Status(Shown::LeaseReady);
    world.fake.until(|fake| fake.told()[before..].contains(&ready)).await;
    Client::connect(&world.fake, "one").await.unwrap().call().await.unwrap();
    assert_eq!(world.done(), ["before one alice"], "it is the same lease");

    world.fake.lease("two", "bob");
    let world = world.crash().await;
    world.is_prepared("before two bob").await;
    assert_eq!(world.done(), ["before one alice", "after one alice", "before two bob"]);
}
