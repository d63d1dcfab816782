//! Whoever is away for a while has missed nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::super::testing::{Client, Fault, Reported, Rpc};
use super::world::{HOOKS, World};
use crate::wire::ExporterStatus as Shown;

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What may keep a controller from answering.
const FAULTS: [Fault; 2] = [Fault::Refused, Fault::Silent];

#[tokio::test(start_paused = true)]
async fn a_lease_goes_on_while_the_controller_is_gone() {
    for fault in FAULTS {
        let world = World::with(HOOKS).await;
        let client = world.leased("one", "alice").await;
        let before = world.fake.told().len();
        world.fake.net.has("controller", fault);
        for _ in 0..60 {
            sleep(TEN_MINUTES / 60).await;
            client.call().await.unwrap();
        }
        assert_eq!(client.status().await.unwrap(), Shown::LeaseReady);
        world.fake.restart();
        world.fake.net.has("controller", Fault::None);
        world.fake.shows(Shown::LeaseReady).await;
        let mut told = world.fake.told().split_off(before);
        // It is told before it says who has the bench, and after.
        told.dedup();
        assert_eq!(told, [Reported::Registered(2), Reported::Status(Shown::LeaseReady)]);
        assert_eq!(world.done(), ["before one alice"]);
        Client::connect(&world.fake, "one").await.unwrap().call().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_in_an_outage_is_put_right() {
    for fault in FAULTS {
        let world = World::with(HOOKS).await;
        let client = world.leased("one", "alice").await;
        world.fake.net.has("controller", fault);
        sleep(TEN_MINUTES).await;
        world.fake.end_lease();
        sleep(TEN_MINUTES).await;
        assert_eq!(world.done(), ["before one alice"], "a network that fails ends no lease");
        world.fake.net.has("controller", Fault::None);
        world.fake.shows(Shown::Available).await;
        drop(client);

        world.leased("two", "bob").await;
        world.fake.net.has("controller", fault);
        world.fake.lease("three", "carol");
        sleep(TEN_MINUTES).await;
        world.fake.net.has("controller", Fault::None);
        world.is_prepared("before three carol").await;
        world.fake.net.has("controller", fault);
        world.fake.lease("three", "dave");
        sleep(TEN_MINUTES).await;
        world.fake.net.has("controller", Fault::None);
        sleep(TEN_MINUTES).await;
        world.fake.end_lease();
        world.fake.shows(Shown::Available).await;
        assert_eq!(
            world.done(),
            [
                "before one alice",
                "after one alice",
                "before two bob",
                "after two bob",
                "before three carol",
                "after three dave",
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_while_nobody_can_be_told_is_given_back_later() {
    for fault in FAULTS {
        let world = World::with(HOOKS).await;
        let client = world.leased("one", "alice").await;
        world.fake.net.has("controller", fault);
        sleep(TEN_MINUTES).await;
        client.end_session().await.unwrap();
        world.bench_is(crate::lease::status::Status::Available).await;
        sleep(TEN_MINUTES).await;
        assert_eq!(world.fake.held().as_deref(), Some("one"));
        let before = world.fake.told().len();
        world.fake.net.has("controller", Fault::None);
        world.fake.shows(Shown::Available).await;
        let told = world.fake.told().split_off(before);
        let expected = [
            Reported::Registered(2),
            Reported::Released("one".into()),
            Reported::Status(Shown::Available),
        ];
        assert_eq!(told, expected);
        assert_eq!(world.done(), ["before one alice", "after one alice"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_over_is_not_begun_again_after_a_restart() {
    let world = World::that_remembers(HOOKS).await;
    let client = world.leased("one", "alice").await;
    world.fake.net.has("controller", Fault::Refused);
    client.end_session().await.unwrap();
    world.bench_is(crate::lease::status::Status::Available).await;
    let world = world.crash().await;
    assert_eq!(world.fake.held().as_deref(), Some("one"), "nobody could be told");
    world.fake.net.has("controller", Fault::None);
    world.fake.until(|fake| fake.held().is_none()).await;
    world.fake.shows(Shown::Available).await;
    assert_eq!(world.done(), ["before one alice", "after one alice"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_waits_is_not_given_to_a_bench_that_is_out_of_service() {
    let hooks = "
  beforeLease: {script: 'false', onFailure: quarantine, timeout: 3600}
";
    let world = World::with(hooks).await;
    world.fake.lease("one", "alice");
    world.fake.shows(Shown::BeforeLeaseHookFailed).await;
    world.fake.until(|fake| fake.held().is_none()).await;
    for _ in 0..10 {
        world.fake.net.has("controller", Fault::Refused);
        sleep(TEN_MINUTES).await;
        world.fake.gives_it_up();
        world.fake.waits("two", "bob");
        world.fake.net.has("controller", Fault::None);
        world.fake.shows(Shown::BeforeLeaseHookFailed).await;
        sleep(TEN_MINUTES).await;
        assert_eq!(world.fake.held(), None);
    }
    assert!(!world.fake.told().contains(&Reported::Released("two".into())));
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_back_is_found_before_it_gives_the_exporter_up() {
    let world = World::with("").await;
    // Its answer may still be on the way.
    sleep(Duration::from_secs(1)).await;
    world.fake.net.has("controller", Fault::Refused);
    sleep(TEN_MINUTES).await;
    world.fake.restart();
    let is_back = Instant::now();
    world.fake.net.has("controller", Fault::None);
    // In its first seconds it refuses everybody.
    world.fake.fail(Rpc::Register, [Code::Unknown; 3]);
    world.fake.shows(Shown::Available).await;
    assert!(is_back.elapsed() < Duration::from_secs(20), "{:?}", is_back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_shown_for_as_long_as_it_lasts() {
    let world = World::with("").await;
    let _client = world.leased("one", "alice").await;
    let shown = |what: &str| {
        let lines = world.bench.activity.lines();
        lines.iter().any(|line| line.contains(what))
    };
    let is_out = || shown("no controller") || shown("no word of who dials");
    // Controllers end their streams now and then.
    world.fake.restart();
    sleep(Duration::from_millis(500)).await;
    assert!(!shown("no controller"), "{:?}", world.bench.activity.lines());
    world.fake.net.has("controller", Fault::Refused);
    world.fake.restart();
    sleep(TEN_MINUTES).await;
    assert!(is_out());
    world.fake.net.has("controller", Fault::None);
    sleep(Duration::from_secs(15)).await;
    assert!(!is_out(), "{:?}", world.bench.activity.lines());
}

#[tokio::test(start_paused = true)]
async fn a_router_that_is_gone_costs_connections_and_nothing_else() {
    let world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    for fault in FAULTS {
        world.fake.net.has("router", fault);
        sleep(TEN_MINUTES).await;
        assert_eq!(world.fake.status(), Some(Shown::LeaseReady));
        world.fake.net.has("router", Fault::None);
        Client::connect(&world.fake, "one").await.unwrap().call().await.unwrap();
    }
    assert_eq!(world.done(), ["before one alice"]);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_comes_late_is_tried_again() {
    let world = World::with("").await;
    drop(world.leased("one", "alice").await);
    world.fake.net.has("router", Fault::Refused);
    let dial = world.fake.dial("one").await.unwrap();
    sleep(Duration::from_secs(60)).await;
    world.fake.net.has("router", Fault::None);
    Client::meet(&world.fake, dial).call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_has_moved_is_found_by_its_name() {
    let world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    world.fake.moves();
    world.fake.shows(Shown::LeaseReady).await;
    client.call().await.unwrap();
    assert_eq!(world.done(), ["before one alice"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_counts_when_the_file_is_read_again_and_the_lease_goes_on() {
    let world = World::with(HOOKS).await;
    let client = world.leased("one", "alice").await;
    world.fake.asks_for("second-token");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.fake.status(), None, "the old one is no good any more");
    let file = world.path("bench.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, yaml.replace("exporter-token", "second-token")).unwrap();
    let before = world.fake.told().len();
    world.shutdown.hang_up();
    world.fake.shows(Shown::LeaseReady).await;
    assert_eq!(world.fake.told()[before], Reported::Registered(2), "first of all");
    client.call().await.unwrap();
    assert_eq!(world.done(), ["before one alice"]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_was_restarted_is_told_everything_again() {
    let world = World::with("").await;
    let client = world.leased("one", "alice").await;
    for _ in 0..5 {
        world.fake.restart();
        assert_eq!(world.fake.status(), None);
        world.fake.shows(Shown::LeaseReady).await;
        client.call().await.unwrap();
        sleep(Duration::from_secs(60)).await;
        Client::connect(&world.fake, "one").await.unwrap().call().await.unwrap();
    }
}

/// Has a call fail in every way, each time around a lease. The calls have tests of their own, so that
/// they run side by side.
async fn fails_in_every_way(rpc: Rpc) {
    let world = World::with(HOOKS).await;
    let mut lease = 0;
    for code in 1..=16 {
        match (rpc, Code::from(code)) {
            // No faults: the lease is over, or the controller knows of no statuses.
            (Rpc::ReleaseLease, Code::NotFound | Code::FailedPrecondition)
            | (Rpc::ReportStatus, Code::Unimplemented) => continue,
            _ => {}
        }
        lease += 1;
        let name = format!("lease-{lease}");
        world.fake.fail(rpc, [Code::from(code); 3]);
        // Whatever fails while a stream is opened has to be asked for.
        world.fake.restart();
        world.fake.shows(Shown::Available).await;
        assert!(world.fake.schedule(&name, "alice"), "{rpc:?} {code}");
        world.fake.shows(Shown::LeaseReady).await;
        sleep(Duration::from_secs(120)).await;
        let client = Client::connect(&world.fake, &name).await.unwrap();
        client.call().await.unwrap();
        client.end_session().await.unwrap();
        world.fake.until(|fake| fake.held().is_none()).await;
        world.fake.shows(Shown::Available).await;
        world.fake.heal();
        let expected = [format!("before {name} alice"), format!("after {name} alice")];
        assert_eq!(world.done()[2 * lease - 2..], expected, "{rpc:?} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn register_may_fail_in_every_way() {
    fails_in_every_way(Rpc::Register).await;
}

#[tokio::test(start_paused = true)]
async fn status_may_fail_in_every_way() {
    fails_in_every_way(Rpc::Status).await;
}

#[tokio::test(start_paused = true)]
async fn listen_may_fail_in_every_way() {
    fails_in_every_way(Rpc::Listen).await;
}

#[tokio::test(start_paused = true)]
async fn report_status_may_fail_in_every_way() {
    fails_in_every_way(Rpc::ReportStatus).await;
}

#[tokio::test(start_paused = true)]
async fn release_lease_may_fail_in_every_way() {
    fails_in_every_way(Rpc::ReleaseLease).await;
}

#[tokio::test(start_paused = true)]
async fn get_service_endpoints_may_fail_in_every_way() {
    fails_in_every_way(Rpc::GetServiceEndpoints).await;
}

#[tokio::test(start_paused = true)]
async fn streams_may_end_after_every_message() {
    let world = World::with(HOOKS).await;
    for messages in 0..4 {
        let name = format!("lease-{messages}");
        world.fake.cut_streams_after(Some(messages));
        world.fake.restart();
        if messages == 0 {
            // Not a word comes through.
            sleep(TEN_MINUTES).await;
            world.fake.heal();
        }
        world.fake.shows(Shown::Available).await;
        assert!(world.fake.schedule(&name, "alice"));
        world.fake.shows(Shown::LeaseReady).await;
        for _ in 0..3 {
            // One whose listener was just cut has to try again, as the reference's clients do.
            while !is_served(&world, &name).await {
                sleep(Duration::from_secs(1)).await;
            }
        }
        world.fake.lease(&name, "bob");
        sleep(Duration::from_secs(120)).await;
        world.fake.end_lease();
        world.fake.shows(Shown::Available).await;
        assert!(
            world.done().ends_with(&[format!("before {name} alice"), format!("after {name} bob"),])
        );
        world.fake.heal();
    }
}

/// Whether a client gets through and can use the bench.
async fn is_served(world: &World, lease: &str) -> bool {
    let Ok(client) = Client::connect(&world.fake, lease).await else { return false };
    matches!(timeout(Duration::from_secs(5), client.call()).await, Ok(Ok(())))
}
