//! The history over HTTP.

use std::net::SocketAddr;

use exporter::config::export::Stage;
use exporter::config::hooks::LifecycleEvent;
use exporter::lease::machine::Phase;
use exporter::state::{ExporterDir, StateDir};
use exporter::store::{HookEvent, RunStatus, Store, Write};
use exporter::{tls, web};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::records::{begun, ended, open};

const INSTALL: HookEvent = HookEvent::Driver(Stage::PreInstall);
const BEFORE: HookEvent = HookEvent::Lease(Phase::Before);
const STOP: HookEvent = HookEvent::Exporter(LifecycleEvent::Stop);

/// A server of two exporters.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
    stores: [Store; 2],
    _dir: TempDir,
}

impl Server {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let state = StateDir::of(Some(dir.path()));
        let exporters: Vec<ExporterDir> = ["one", "two"].map(|name| state.exporter(name)).into();
        let stores = [&exporters[0], &exporters[1]].map(|exporter| open(&exporter.dir).0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = web::serve(listener, exporters, stop.clone());
        #[expect(clippy::disallowed_methods, reason = "the test owns it, and waits for its end")]
        let task = tokio::spawn(serving);
        Self { address, stop, task, stores, _dir: dir }
    }

    /// Records a run, and returns its id.
    async fn record(&self, store: usize, event: HookEvent, day: usize, output: &str) -> String {
        let run = begun(event, &format!("2200-03-{day:02}T00:00:00Z"));
        let status = if day.is_multiple_of(2) { RunStatus::Success } else { RunStatus::Failure };
        let end = ended(&run, status, output);
        self.stores[store].commit(vec![Write::RunBegun(run.clone()), Write::RunEnded(end)]).await;
        run.id.to_string()
    }

    async fn get(&self, page: &str) -> (u16, Value) {
        self.get_as(page, &self.address.to_string()).await
    }

    async fn get_as(&self, page: &str, host: &str) -> (u16, Value) {
        let request = client().get(format!("http://{}{page}", self.address)).header("host", host);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// The ids of a list, and where the next page begins.
    async fn ids(&self, query: &str) -> (Vec<String>, Option<String>) {
        let (status, page) = self.get(&format!("/v1/hook-executions{query}")).await;
        assert_eq!(status, 200, "{page}");
        let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
        let items = page["items"].as_array().unwrap();
        (items.iter().map(id).collect(), page["next"].as_str().map(str::to_owned))
    }
}

fn client() -> reqwest::Client {
    // It wants to know even where nothing is encrypted.
    tls::install_crypto();
    reqwest::Client::new()
}

#[tokio::test]
async fn an_execution_has_the_fields_of_chef_and_ours() {
    let server = Server::start().await;
    let id = server.record(0, INSTALL, 1, "installing\n").await;
    let expected = json!({
        "id": id,
        "skillName": "board.power",
        "skillVersion": "1.4.0",
        "lifecycleStage": "pre_install",
        "status": "failure",
        "exitCode": 3,
        "stdout": "installing\n",
        "stderr": "",
        "executedAt": "2200-03-01T00:00:00Z",
        "exporter": "one",
        "event": "preInstall",
        "subject": "driver",
        "leaseName": null,
        "durationMs": 1234,
        "signal": null,
        "streams": "merged",
        "detail": null,
        "omittedBytes": 0,
    });
    let one = server.get(&format!("/v1/hook-executions/{id}")).await;
    assert_eq!(one, (200, expected.clone()));
    let list = server.get("/v1/hook-executions").await;
    assert_eq!(list, (200, json!({ "items": [expected], "next": null })));
}

#[tokio::test]
async fn a_run_that_is_not_over_has_no_status_yet() {
    let server = Server::start().await;
    let run = begun(BEFORE, "2200-03-04T00:00:00Z");
    server.stores[1].commit(vec![Write::RunBegun(run.clone())]).await;
    let (_, one) = server.get(&format!("/v1/hook-executions/{}", run.id)).await;
    assert_eq!((&one["status"], &one["stdout"]), (&Value::Null, &json!("")));
    assert_eq!(
        (&one["lifecycleStage"], &one["skillName"]),
        (&json!("before_lease"), &json!("first"))
    );
}

#[tokio::test]
async fn a_list_can_be_narrowed_down() {
    let server = Server::start().await;
    let first = server.record(0, BEFORE, 1, "").await;
    let second = server.record(1, INSTALL, 2, "").await;
    let third = server.record(0, STOP, 4, "").await;
    for (query, expected) in [
        ("", vec![&third, &second, &first]),
        ("?exporter=one", vec![&third, &first]),
        ("?exporter=three", vec![]),
        ("?event=stop", vec![&third]),
        ("?lease=first", vec![&first]),
        ("?driver=board.power", vec![&second]),
        ("?status=success", vec![&third, &second]),
        ("?since=2200-03-02T00:00:00Z", vec![&third, &second]),
        ("?since=1h", vec![&third, &second, &first]),
        ("?status=success&exporter=two", vec![&second]),
    ] {
        let expected = expected.into_iter().cloned().collect();
        assert_eq!(server.ids(query).await, (expected, None), "{query}");
    }
}

#[tokio::test]
async fn pages_follow_one_another_across_exporters() {
    let server = Server::start().await;
    let mut all = Vec::new();
    for day in 1..=7 {
        all.insert(0, server.record(day % 2, STOP, day, "").await);
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    let mut pages = 0;
    loop {
        let (ids, next) = server.ids(&query).await;
        assert!(ids.len() <= 3);
        seen.extend(ids);
        pages += 1;
        let Some(next) = next else { break };
        query = format!("?limit=3&before={next}");
    }
    assert_eq!((seen, pages), (all, 3));
}

#[tokio::test]
async fn a_page_of_large_outputs_is_short() {
    let server = Server::start().await;
    for day in 1..=7 {
        server.record(0, STOP, day, &"x".repeat(1 << 20)).await;
    }
    let (ids, next) = server.ids("").await;
    assert_eq!(ids.len(), 5, "as soon as there are more than 4 MiB");
    assert_eq!(next.as_ref(), ids.last());
}

#[tokio::test]
async fn whatever_else_is_asked_for_is_an_error_in_json() {
    let server = Server::start().await;
    let unknown = "2b9d1f4e-0000-4000-8000-000000000000";
    for (page, status, error) in [
        ("/", 404, "no such page"),
        ("/v1/hook-executions/x", 404, "no run 'x'"),
        (&*format!("/v1/hook-executions/{unknown}"), 404, "no run '2b9d1f4e-"),
        ("/v1/hook-executions?event=boot", 400, "event: 'boot' is none; there are: beforeLease, "),
        ("/v1/hook-executions?status=good", 400, "status: 'good' is none; there are: success, "),
        ("/v1/hook-executions?since=soon", 400, "since: 'soon' is not a moment; "),
        ("/v1/hook-executions?limit=0", 400, "limit: 0 is not between 1 and 500"),
        ("/v1/hook-executions?limit=x", 400, "Failed to deserialize query string: "),
        ("/v1/hook-executions?colour=red", 400, "Failed to deserialize query string: "),
        ("/v1/hook-executions?before=x", 400, "before: no run 'x'"),
    ] {
        let (found, body) = server.get(page).await;
        assert_eq!(found, status, "{page}");
        assert!(body["error"].as_str().unwrap().starts_with(error), "{body}");
    }
    let url = format!("http://{}/v1/hook-executions", server.address);
    let response = client().post(url).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 405);
}

#[tokio::test]
async fn a_browser_is_not_fooled_by_another_name_for_this_host() {
    let server = Server::start().await;
    assert_eq!(server.get_as("/v1/hook-executions", "localhost").await.0, 200);
    let (status, body) = server.get_as("/v1/hook-executions", "evil.example:80").await;
    assert_eq!(status, 403);
    assert_eq!(
        body["error"],
        "call it localhost, or listen on another address with --web HOST:PORT"
    );
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let server = Server::start().await;
    server.ids("").await;
    server.stop.cancel();
    server.task.await.unwrap().unwrap();
}
