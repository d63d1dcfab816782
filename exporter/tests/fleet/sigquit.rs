//! What a process with several exporters says when it is sent SIGQUIT.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use crate::fleet_under_test::{DEADLINE, Fleet, POLL};

#[tokio::test]
async fn sigquit_says_what_goes_on_and_ends_nothing() {
    let fleet = Fleet::of(&[("good", ""), ("bad", "failureDetection: {maxRapidFailures: 1}")]);
    fleet.damage("bad");
    let fleet = fleet.start_with(&["--log-level", "ERROR"]);
    fleet.shows("good: AVAILABLE").await;
    fleet.says("bad", "and is given up", 1).await;
    // As soon as it has tried to reach its controller.
    let deadline = Instant::now() + DEADLINE;
    while fleet.count("good", "- no controller at 127.0.0.1:9: ") == 0 {
        assert!(Instant::now() < deadline, "{}", fleet.log());
        fleet.signal(Signal::SIGQUIT);
        sleep(10 * POLL).await;
    }
    fleet.says("good", "AVAILABLE for ", 1).await;
    fleet.says("good", "- lease machine: waits for the next lease, for ", 1).await;
    fleet.says("bad", "given up after 1 failures; `hilt reload` tries again: ", 1).await;
    fleet.shows("good: AVAILABLE").await;
    fleet.signal(Signal::SIGTERM);
    assert_eq!(fleet.ended().await.code(), Some(1), "one was given up");
}

#[tokio::test]
async fn sigquit_says_who_waits_in_a_lab() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fleet = Fleet::of(&[("a", ""), ("b", "")]).start_with(&["--lab", &port.to_string()]);
    fleet.shows("a: AVAILABLE").await;
    fleet.shows("b: AVAILABLE").await;
    let deadline = Instant::now() + DEADLINE;
    while !fleet.log().contains("lab: b is ready, and nobody has it") {
        assert!(Instant::now() < deadline, "{}", fleet.log());
        fleet.signal(Signal::SIGQUIT);
        sleep(10 * POLL).await;
    }
}
