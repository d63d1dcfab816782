//! The history of executions, as it is asked for.

use exporter::store::Subject;
use exporter::tls;
use exporter::wire::ExporterStatus;
use serde_json::{Value, json};

use super::{change, driver, exported, hooks};
use crate::bench::{Bench, free_port};

/// The records of a bench that has been through all stages, by HTTP, the first first.
async fn executions(bench: &Bench) -> Vec<Value> {
    let web = format!("127.0.0.1:{}", free_port());
    let mut command = bench.run();
    command.args(["--web", &web]);
    let mut exporter = bench.spawn(command);
    exporter.wait_for(ExporterStatus::LeaseReady).await;
    tls::install_crypto();
    let page = reqwest::get(format!("http://{web}/v1/hook-executions")).await.unwrap();
    let mut page: Value = page.json().await.unwrap();
    let mut items = std::mem::take(page["items"].as_array_mut().unwrap());
    items.reverse();
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_is_a_record_with_the_fields_of_the_page() {
    let hooks = hooks(&[
        ("preInstall", "echo out; echo err >&2"),
        ("postInstall", "exit 3"),
        ("preUpdate", "true"),
        ("postUpdate", "kill -9 $$"),
        ("preDelete", "true"),
        ("postDelete", "sleep 1000"),
    ]);
    let hooks = hooks.replace(r#""sleep 1000""#, r#""sleep 1000", "timeoutSeconds": 1"#);
    let version = |n| exported(&driver("power", &format!("    version: '{n}'\n{hooks}")));
    let bench = Bench::new("");
    change(&bench, &[&version(1), &version(2), "export: {}\n"]).await;

    let executions = executions(&bench).await;
    let runs = bench.runs();
    let expected = [
        ("pre_install", "1", "success", json!(0), "out\nerr\n"),
        ("post_install", "1", "failure", json!(3), ""),
        ("pre_update", "2", "success", json!(0), ""),
        ("post_update", "2", "failure", Value::Null, ""),
        ("pre_delete", "2", "success", json!(0), ""),
        ("post_delete", "2", "timeout", Value::Null, ""),
    ];
    assert_eq!((executions.len(), runs.len()), (expected.len(), expected.len()));
    for ((record, run), (stage, version, status, code, output)) in
        executions.iter().zip(&runs).zip(expected)
    {
        let Subject::Driver { path, .. } = &run.begun.subject else { panic!("{run:?}") };
        assert_eq!(record["id"], run.begun.id.to_string());
        assert_eq!(record["skillName"], *path);
        assert_eq!(record["skillVersion"], version);
        assert_eq!(record["lifecycleStage"], stage);
        assert_eq!((&record["status"], &record["exitCode"]), (&json!(status), &code), "{stage}");
        // A terminal does not tell the two apart.
        assert_eq!((&record["stdout"], &record["stderr"]), (&json!(output), &json!("")));
        assert_eq!(record["streams"], "merged");
        let executed: jiff::Timestamp = record["executedAt"].as_str().unwrap().parse().unwrap();
        assert_eq!(executed, run.begun.started);
    }
}
