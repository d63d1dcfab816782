//! Random faults at random times, each from a seed that tells them again.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Builder;
use tokio::time::sleep;
use tonic::Code;

use super::super::testing::{Client, Fault, Rpc};
use super::world::{HOOKS, World};
use crate::wire::ExporterStatus as Shown;

/// How many schedules there are.
const SCHEDULES: u64 = 1000;

/// How many schedules one exporter goes through, with a lease each.
const EACH: u64 = 50;

/// How many things go wrong in a schedule.
const MOST_FAULTS: usize = 12;

/// Something goes wrong, or right again; then a while passes.
async fn something_happens(world: &World, rng: &mut Rng, lease: &str) {
    let fake = &world.fake;
    match rng.u8(0..10) {
        0 => fake.net.has("controller", Fault::Refused),
        1 => fake.net.has("controller", Fault::Silent),
        2 => fake.net.has("controller", Fault::None),
        3 => fake.net.has("router", [Fault::Refused, Fault::Silent, Fault::None][rng.usize(0..3)]),
        4 => fake.restart(),
        5 => fake.cut_streams_after(Some(rng.usize(0..4))),
        6 => {
            let rpc = Rpc::ALL[rng.usize(0..5)];
            let code = loop {
                let code = Code::from(rng.i32(1..17));
                match (rpc, code) {
                    // No faults: the lease is over, or the controller knows of no statuses.
                    (Rpc::ReleaseLease, Code::NotFound | Code::FailedPrecondition)
                    | (Rpc::ReportStatus, Code::Unimplemented) => {}
                    _ => break code,
                }
            };
            fake.fail(rpc, vec![code; rng.usize(1..4)]);
        }
        7 => fake.heal(),
        8 => {
            // A client that comes and goes, if it can.
            if fake.held().as_deref() == Some(lease)
                && fake.status() == Some(Shown::LeaseReady)
                && let Ok(client) = Client::connect(fake, lease).await
            {
                let patience = Duration::from_secs(5);
                tokio::time::timeout(patience, client.call()).await.ok();
            }
        }
        _ => {}
    }
    sleep(Duration::from_millis(rng.u64(0..120_000))).await;
}

/// One lease in bad weather; then the sun comes out.
async fn schedule(world: &World, seed: u64, number: u64) {
    let (mut rng, fake) = (Rng::with_seed(seed), &world.fake);
    let lease = format!("lease-{seed}");
    assert!(fake.schedule(&lease, "alice"), "seed {seed}");
    let ends = rng.usize(0..MOST_FAULTS);
    for event in 0..rng.usize(1..MOST_FAULTS) {
        if event == ends {
            fake.end_lease();
        }
        something_happens(world, &mut rng, &lease).await;
    }
    fake.heal();
    fake.net.has("router", Fault::None);
    fake.net.has("controller", Fault::None);
    // Whatever was said in the outage: the exporter hears of the lease, or of its end.
    sleep(Duration::from_secs(300)).await;
    fake.end_lease();
    fake.shows(Shown::Available).await;
    let done = world.done();
    let hooks: Vec<_> = done.iter().filter(|line| line.contains(&format!("{lease} "))).collect();
    let pair = [format!("before {lease} alice"), format!("after {lease} alice")];
    // One that was over before the exporter could hear of it has none.
    assert!(hooks.is_empty() || hooks == [&pair[0], &pair[1]], "seed {seed} ({number}): {hooks:?}");
    assert_eq!(fake.held(), None, "seed {seed}");
}

/// Each exporter in a thread of its own, with a clock that jumps.
#[test]
fn after_every_storm_the_bench_is_available_and_owes_nothing() {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(EACH, Ordering::Relaxed);
                    if first >= SCHEDULES {
                        break;
                    }
                    let mut runtime = Builder::new_current_thread();
                    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
                    runtime.block_on(storms(first));
                }
            });
        }
    });
}

/// One exporter, and what it goes through.
async fn storms(first: u64) {
    let world = World::with(HOOKS).await;
    for seed in first..first + EACH {
        schedule(&world, seed, seed - first).await;
    }
    // Every bench still serves.
    world.leased("last", "bob").await.call().await.unwrap();
}
