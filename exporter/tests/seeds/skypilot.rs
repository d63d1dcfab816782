//! SkyPilot's page: the hooks before a cluster goes, which is an exporter here.

mod examples;

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use exporter::wire::ExporterStatus;
use nix::sys::signal::Signal;

use crate::bench::Bench;
use crate::stand_in::{program, run_with};

const EVENTS: [&str; 3] = ["stop", "preemption", "down"];

/// A bench with a power switch and these entries.
fn bench(entries: &str) -> Bench {
    Bench::new(&format!(
        "export: {{power: {{type: jumpstarter_driver_power.driver.MockPower}}}}\n\
         hooks:\n  lifecycle:\n{entries}"
    ))
}

/// Runs the exporter by this command until the event has happened.
async fn until(event: &str, bench: &Bench, mut command: Command) -> ExitStatus {
    match event {
        "stop" => {
            command.arg("--exit-on-lease-end");
            return bench.spawn(command).run_out().await;
        }
        "preemption" | "down" => {}
        _ => panic!("{event} is no event"),
    }
    let mut exporter = bench.spawn(command);
    let _client = exporter.in_use().await;
    if event == "down" {
        assert!(bench.hilt(&["down", "bench"]).status.success());
    } else {
        exporter.signal(Signal::SIGTERM);
    }
    exporter.ended().await
}

/// What `hilt` prints when it is asked this.
fn hilt(bench: &Bench, arguments: &[&str]) -> String {
    String::from_utf8(bench.hilt(arguments).stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_has_the_files_and_the_environment_of_its_exporter() {
    let bench = bench("  - run: cat notes; echo $FROM_OUTSIDE; pwd\n");
    std::fs::write(bench.file("notes"), "a note\n").unwrap();
    let mut command = run_with(&bench, &[]);
    command.env("FROM_OUTSIDE", "a variable");
    assert_eq!(until("preemption", &bench, command).await.code(), Some(0));
    let expected = bench.filled("a note\na variable\n$DIR\n");
    assert_eq!(hilt(&bench, &["hooks", "logs", "preemption"]), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_fires_on_all_three_events_unless_it_names_some() {
    let bench = bench(
        "  - run: echo all $SKYPILOT_HOOK_EVENT >> $DIR/done
  - {run: echo some $SKYPILOT_HOOK_EVENT >> $DIR/done, events: [down, stop]}
",
    );
    for event in EVENTS {
        assert_eq!(until(event, &bench, bench.run()).await.code(), Some(0), "{event}");
    }
    let expected = ["all stop", "some stop", "all preemption", "all down", "some down"];
    assert_eq!(bench.lines("done"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_runs_while_everything_is_still_there() {
    let bench = Bench::new(
        "export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    hooks: {preDelete: {scripts: [{targetPlatform: linux, run: echo deleted >> $DIR/done}]}}
hooks:
  lifecycle: [{run: j power on && echo $SKYPILOT_HOOK_EVENT >> $DIR/done}]
",
    );
    for event in EVENTS {
        assert_eq!(until(event, &bench, bench.run()).await.code(), Some(0), "{event}");
    }
    assert_eq!(bench.lines("done"), ["stop", "preemption", "down", "deleted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_and_a_time_out_with_a_warning_the_event_proceeds() {
    let bench = bench(
        "  - run: exit 3
  - {run: 'echo saving; exec sleep 1000', timeout: 1}
  - run: echo last
",
    );
    assert_eq!(until("stop", &bench, bench.run()).await.code(), Some(0));
    let warnings = [
        "stop hook 1 failed with exit code 3; the exporter goes on",
        "stop hook 2 took longer than 1 s and was ended; the exporter goes on",
    ];
    let expected = [warnings[0], "saving", warnings[1], "last\n"].join("\n");
    assert_eq!(hilt(&bench, &["hooks", "logs", "stop"]), expected);
    let said = bench.lines("exporter.log");
    for warning in warnings {
        let is_warning = |line: &&String| line.contains("WARN") && line.contains(warning);
        assert_eq!(said.iter().filter(is_warning).count(), 1, "{said:?}");
    }
}

/// Its last lease is over; or it is told to stop while there is none, as the bench is out of service.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_name_of_its_outcome_whatever_has_led_to_it() {
    let entry = "  - run: echo $SKYPILOT_HOOK_EVENT >> $DIR/done\n";
    let bench = bench(entry);
    assert_eq!(until("stop", &bench, bench.run()).await.code(), Some(0));
    bench.configure(&format!(
        "hooks:\n  beforeLease: {{script: exit 1, onFailure: quarantine}}\n  lifecycle:\n{entry}"
    ));
    let mut exporter = bench.start(None);
    exporter.wait_until(|status| status.message().starts_with("quarantined")).await;
    exporter.signal(Signal::SIGTERM);
    assert_eq!(exporter.ended().await.code(), Some(0));
    assert_eq!(bench.lines("done"), ["stop", "stop"]);
}

/// Three hours, which are more microseconds than 32 bits can hold.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_to_wait_for_the_preemption_hooks() {
    let bench = bench(
        "  - {run: echo one, events: [preemption]}
  - {run: echo two, events: [preemption], timeout: 7200}
  - {run: echo three, events: [stop]}
",
    );
    let manager = UnixDatagram::bind(bench.file("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].into()).unwrap()
    };
    let mut command = bench.run();
    command.env("NOTIFY_SOCKET", bench.file("notify"));
    assert_eq!(until("preemption", &bench, command).await.code(), Some(0));
    assert_eq!(told(), "READY=1\n");
    // Each hook with 10 s for ending it, and 10 s for the rest.
    assert_eq!(told(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=10830000000\n");
    let file = bench.file("exporter.yaml");
    let checked = Command::new(env!("CARGO_BIN_EXE_hilt")).arg("check").arg(file).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains("terminationGracePeriodSeconds: 10830 (Kubernetes)"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hook_branches_on_the_event_as_on_the_page() {
    let bench = bench(
        r#"  - run: |
      case "$SKYPILOT_HOOK_EVENT" in
        preemption) ./fast_save.sh ;;
        stop|down) ./full_save.sh && ./git_commit.sh ;;
      esac
"#,
    );
    for name in ["fast_save.sh", "full_save.sh", "git_commit.sh"] {
        program(&bench, name, "#!/bin/sh\necho $SKYPILOT_HOOK_EVENT ${0##*/} >> $DIR/done\n");
    }
    for event in EVENTS {
        assert_eq!(until(event, &bench, run_with(&bench, &[])).await.code(), Some(0), "{event}");
    }
    let expected = [
        "stop full_save.sh",
        "stop git_commit.sh",
        "preemption fast_save.sh",
        "down full_save.sh",
        "down git_commit.sh",
    ];
    assert_eq!(bench.lines("done"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_lives_while_a_hook_runs_and_its_log_is_streamed() {
    let bench = bench(
        "  - run: |
      echo saving
      until [ -e $DIR/go ]; do sleep 0.02; done
      echo saved
",
    );
    let mut exporter = bench.start(None);
    let _client = exporter.in_use().await;
    exporter.signal(Signal::SIGTERM);
    bench.written("state/exporters/bench/hooks/preemption.log", "saving").await;

    let mut follower = Command::new(env!("CARGO_BIN_EXE_hilt"))
        .args(["hooks", "logs", "preemption", "--follow", "--state-dir"])
        .arg(bench.file("state"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "saving");
    // The devices are still there for the hook, and clients are still answered.
    exporter.wait_for(ExporterStatus::AfterLeaseHook).await;
    std::fs::write(bench.file("go"), "").unwrap();
    assert_eq!(lines.next().unwrap(), "saved");
    assert_eq!(exporter.ended().await.code(), Some(0));
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_event_whichever_log_there_is_is_chosen() {
    let bench = bench("  - run: echo $SKYPILOT_HOOK_EVENT\n");
    for event in ["preemption", "stop"] {
        assert_eq!(until(event, &bench, bench.run()).await.code(), Some(0));
        assert_eq!(hilt(&bench, &["hooks", "logs"]), format!("{event}\n"), "the newest");
    }
    assert_eq!(hilt(&bench, &["hooks", "logs", "preemption"]), "preemption\n");
    assert!(!bench.hilt(&["hooks", "logs", "down"]).status.success(), "there is none");
}
