//! Jumpstarter's page: the hooks around a lease.

mod use_cases;

use exporter::store::RunStatus;
use exporter::wire::{EndSessionRequest, ExporterStatus, LogSource};

use crate::bench::{Bench, Exporter};
use crate::record::outputs;
use crate::stand_in::{program, run_with};

const POWER: &str = "export: {power: {type: jumpstarter_driver_power.driver.MockPower}}\n";

/// A bench with a power switch and these hooks.
fn bench(hooks: &str) -> Bench {
    Bench::new(&format!("{POWER}hooks:\n{hooks}"))
}

/// Waits until the lease may be used, and ends it.
async fn use_lease(exporter: &mut Exporter) {
    let ready = exporter.wait_for(ExporterStatus::LeaseReady).await;
    assert_eq!(ready.message(), "Ready for commands");
    end_lease(exporter).await;
}

async fn end_lease(exporter: &mut Exporter) {
    let mut client = exporter.client().await.unwrap();
    client.end_session(EndSessionRequest {}).await.unwrap();
}

/// Ends its first lease and waits for the end of the exporter that serves only one.
async fn one_lease(bench: &Bench, programs: &[&str]) {
    let mut command = run_with(bench, programs);
    command.arg("--exit-on-lease-end");
    let mut exporter = bench.spawn(command);
    use_lease(&mut exporter).await;
    assert_eq!(exporter.ended().await.code(), Some(0));
}

/// The example, but for the power hub, which nobody has plugged in, and the time that it sleeps.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_the_page_runs_as_it_is_written() {
    let bench = Bench::new(
        r#"
endpoint: grpc.jumpstarter.example.com:443
token: xxxxx
export:
  power:
    type: jumpstarter_driver_power.driver.MockPower
    config:
      serial: "YK25838"
      port: "1"
hooks:
  beforeLease:
    script: |
      j power on
      sleep 5
    timeout: 60
    onFailure: endLease
  afterLease:
    script: |
      j power off
    timeout: 30
    onFailure: warn
"#,
    );
    one_lease(&bench, &["sleep"]).await;
    assert_eq!(bench.lines("called"), ["<sleep><5>"]);
    assert_eq!((bench.count("beforeLease"), bench.count("afterLease")), ((1, 1), (1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_for_bin_sh_after_c_and_exec_names_another_interpreter() {
    let bench = bench(
        "  beforeLease: {script: 'tr \"\\0\" \" \" < /proc/$$/cmdline'}
  afterLease:
    exec: python3
    script: |
      import os, sys
      print(sys.orig_argv[1], os.environ['LEASE_NAME'])
",
    );
    one_lease(&bench, &[]).await;
    let expected = "/bin/sh -c tr \"\\0\" \" \" < /proc/$$/cmdline\n";
    assert_eq!(outputs(&bench, "beforeLease"), [expected]);
    assert_eq!(outputs(&bench, "afterLease"), ["-c standalone\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_file_runs_in_the_python_that_the_exporter_has() {
    let bench = Bench::new(&format!(
        "python: $DIR/venv/python3\n{POWER}hooks: {{beforeLease: {{script: $DIR/prepare.py}}}}\n"
    ));
    program(&bench, "venv/python3", "#!/bin/sh\necho in the venv\nexec python3 \"$@\"\n");
    std::fs::write(bench.file("prepare.py"), "import os\nprint(os.environ['LEASE_NAME'])\n")
        .unwrap();
    one_lease(&bench, &[]).await;
    assert_eq!(outputs(&bench, "beforeLease"), ["in the venv\nstandalone\n"]);
}

/// Python keeps what it prints until it ends, unless it prints to a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_would_keep_in_a_buffer_is_heard_line_by_line() {
    let bench = bench(
        "  beforeLease:
    exec: python3
    script: |
      import os, time
      print('warming up')
      while not os.path.exists('$DIR/go'): time.sleep(0.02)
      print('ready')
",
    );
    let mut exporter = bench.start(None);
    let mut client = exporter.client().await.unwrap();
    let mut log = client.log_stream(()).await.unwrap().into_inner();
    for line in ["warming up", "ready"] {
        let heard = loop {
            let heard = log.message().await.unwrap().unwrap();
            if heard.source() == LogSource::BeforeLeaseHook {
                break heard;
            }
        };
        assert_eq!(heard.message, line);
        std::fs::write(bench.file("go"), "").unwrap();
    }
}

/// `grep` asks for a terminal, and for one that is not as dumb as the one it is told of.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_looks_for_a_terminal_finds_one() {
    let bench = bench(
        "  beforeLease:
    script: |
      echo red | TERM=xterm grep --color=auto red
      echo red | grep --color=auto red
",
    );
    one_lease(&bench, &[]).await;
    let output = outputs(&bench, "beforeLease").remove(0);
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].starts_with("\u{1b}[") && lines[0].contains("red"), "{lines:?}");
    assert_eq!(lines[1..], ["red"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_takes_too_long_is_asked_to_end_and_has_failed_whatever_it_says() {
    let bench = bench(
        "  beforeLease:
    script: |
      trap 'echo asked to end; exit 0' TERM
      sleep 1000 & wait
    timeout: 1
    onFailure: endLease
",
    );
    let mut exporter = bench.start(None);
    let failed = exporter.wait_for(ExporterStatus::BeforeLeaseHookFailed).await;
    assert_eq!(
        failed.message(),
        "beforeLease hook failed (on_failure=endLease): Hook timed out after 1 seconds"
    );
    assert_eq!(outputs(&bench, "beforeLease")[0], "asked to end\n");
    let ended = bench.runs().remove(0).ended.unwrap();
    assert_eq!((ended.status, ended.exit_code), (RunStatus::Timeout, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_failure_exit_ends_the_process_with_the_code_that_a_service_manager_heeds() {
    let before = bench("  beforeLease: {script: exit 3, onFailure: exit}\n");
    assert_eq!(before.start(None).ended().await.code(), Some(1));

    let after = bench("  afterLease: {script: exit 3, onFailure: exit}\n");
    let mut exporter = after.start(None);
    use_lease(&mut exporter).await;
    assert_eq!(exporter.ended().await.code(), Some(1));
    assert_eq!(after.count("afterLease"), (1, 0), "no further lease was begun");
}
