//! Verbs that are calls, and the exit codes of everything.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tonic::Status;

use crate::bench::{Bench, j, lock, said};

#[tokio::test]
async fn a_verb_costs_the_report_and_its_calls() {
    let bench = Bench::start();
    let output = bench.run("power on").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert_eq!(bench.calls(), ["power.on"]);
    let requests = lock(&bench.state.requests).clone();
    assert_eq!(requests, [("GetReport", 1), ("DriverCall", 1)].into());
}

#[tokio::test]
async fn drivers_are_found_below_others() {
    let bench = Bench::start();
    let output = bench.run("board relay cycle -w 0").await;
    assert_eq!(said(&output), (Some(0), "Power cycling with 0 seconds wait time...\n", ""));
    assert_eq!(bench.calls(), ["relay.off", "relay.on"]);
}

#[tokio::test]
async fn readings_are_lines() {
    let bench = Bench::start();
    let output = bench.run("power read -n 2 -i 0").await;
    let line = "voltage=5.0 V  current=0.25 A  apparent_power=1.25 VA\n";
    assert_eq!(said(&output), (Some(0), &*line.repeat(2), ""));
}

#[tokio::test]
async fn a_switch_tells_where_it_is() {
    let bench = Bench::start();
    let output = bench.run("power status").await;
    assert_eq!(said(&output), (Some(0), "off\n", ""));
}

#[tokio::test]
async fn a_refused_call_is_one_line_and_exit_code_1() {
    let bench = Bench::start();
    let words = "Exporter not ready for driver calls (status: AVAILABLE)";
    bench.refuse("on", Status::failed_precondition(words));
    let output = bench.run("board relay on").await;
    assert_eq!(said(&output), (Some(1), "", &*format!("Error: board.relay: on: {words}\n")));
    bench.refuse("off", Status::unknown("1 error\n  relay\n    stuck\n"));
    let output = bench.run("power off").await;
    assert_eq!(said(&output), (Some(1), "", "Error: power: off: 1 error; relay; stuck\n"));
}

#[tokio::test]
async fn a_wrong_command_line_calls_nothing_and_is_exit_code_2() {
    let bench = Bench::start();
    for (line, hint) in [
        ("powr on", "'power'"),
        ("power cycle --wat", "'--wait'"),
        ("power on now", "Usage: j power on"),
        ("power", "Usage: j power [OPTIONS] COMMAND [ARGS]..."),
        ("", "Usage: j [OPTIONS] COMMAND [ARGS]..."),
        ("serial pipe --no-output --no-input", "--no-output requires stdin input"),
    ] {
        let output = bench.run(line).await;
        let (code, stdout, stderr) = said(&output);
        assert_eq!((code, stdout), (Some(2), ""), "{line}: {stderr}");
        assert!(stderr.contains(hint), "{line}: {stderr}");
    }
    assert_eq!(bench.calls(), [""; 0]);
}

#[tokio::test]
async fn help_that_was_asked_for_is_a_result() {
    let bench = Bench::start();
    let output = bench.run("power --help").await;
    let (code, stdout, stderr) = said(&output);
    assert_eq!((code, stderr), (Some(0), ""));
    assert!(stdout.contains("Commands:\n  call"), "{stdout}");
}

#[tokio::test]
async fn without_an_exporter_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = j(directory.path(), "power on").output().await.unwrap();
    let words = "Error: the j command must be used inside a jmp shell: JUMPSTARTER_HOST not set\n";
    assert_eq!(said(&output), (Some(1), "", words));
    let mut nowhere = j(directory.path(), "power on");
    let output = nowhere.env("JUMPSTARTER_HOST", "/nonexistent/socket").output().await.unwrap();
    let (code, _, stderr) = said(&output);
    assert_eq!(code, Some(1));
    let words = "Error: cannot reach the exporter at /nonexistent/socket";
    assert!(stderr.starts_with(words), "{stderr}");
}

#[tokio::test]
async fn a_passphrase_comes_with_every_call() {
    let bench = Bench::start();
    bench.j("power on").env("JMP_GRPC_PASSPHRASE", "swordfish").output().await.unwrap();
    assert_eq!(lock(&bench.state.passphrase).as_deref(), Some("swordfish"));
}

#[tokio::test]
async fn a_script_has_its_words_and_its_exit_code() {
    let bench = Bench::start();
    let output = bench.run("shell hello -e X=1 a --help").await;
    assert_eq!(said(&output), (Some(7), "out\n", "err\n"));
    let args = lock(&bench.state.args)["shell.call_method"].clone();
    assert_eq!(Value::from(args), json!(["hello", {"X": "1"}, "a", "--help"]));
}

#[tokio::test]
async fn any_method_can_be_called_whether_it_yields_or_not() {
    let bench = Bench::start();
    assert_eq!(said(&bench.run("net call address").await).1, "\"tcp://127.0.0.1:80\"\n");
    let output = bench.run("power call read").await;
    assert_eq!(said(&output), (Some(0), "{\"current\":0.25,\"voltage\":5}\n", ""));
    let output = bench.run("power call nope 1").await;
    let words = "Error: power: nope: method nope not found on driver (NotFound)\n";
    assert_eq!(said(&output), (Some(1), "", words));
}

#[tokio::test]
async fn an_address_can_be_taken_apart() {
    let bench = Bench::start();
    assert_eq!(said(&bench.run("net address").await).1, "127.0.0.1:80\n");
    assert_eq!(said(&bench.run("net address --port").await).1, "80\n");
}

#[tokio::test]
async fn a_question_is_answered_by_the_exit_code() {
    let bench = Bench::start();
    assert_eq!(said(&bench.run("fs exists a.txt").await), (Some(0), "", ""));
    let output = bench.run("fs exists b.txt").await;
    assert_eq!(said(&output), (Some(1), "", "Error: path b.txt does not exist\n"));
    assert_eq!(said(&bench.run("fs list /").await), (Some(0), "/\na.txt\n", ""));
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_error() {
    let bench = Bench::start();
    let mut endless = bench.j("power read -n 0 -i 0").spawn().unwrap();
    let mut stdout = endless.stdout.take().unwrap();
    let mut line = [0; 10];
    stdout.read_exact(&mut line).await.unwrap();
    drop(stdout);
    let output = endless.wait_with_output().await.unwrap();
    assert_eq!(said(&output), (Some(0), "", ""));
}
