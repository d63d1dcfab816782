//! Against the real bash.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use futures_util::StreamExt as _;
use uuid::Uuid;

use super::*;
use crate::driver::Resources;
use crate::registry::{self, parse};
use crate::testing::process::{gone, lives, noted, pass};
use crate::{Args, Sink, Source};

struct Nothing;

#[async_trait]
impl Resources for Nothing {
    async fn source(&self, _: &Value) -> Result<Source> {
        panic!("a shell takes no resources")
    }
    async fn sink(&self, _: &Value) -> Result<Sink> {
        panic!("a shell takes no resources")
    }
}

fn build(config: Value) -> Shell {
    Shell::build(parse(config).unwrap()).unwrap()
}

/// A shell with one method.
fn script(text: &str) -> Shell {
    build(json!({"methods": {"go": text}}))
}

async fn call(shell: &Shell, args: Value) -> Result<Items> {
    let args = Args::new(args.as_array().unwrap().clone());
    shell.items(Call { method: "call_method", args, resources: &Nothing }).await
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    stdout: String,
    stderr: String,
    code: Option<i64>,
}

/// Everything that a call yields, put together.
async fn all(mut items: Items) -> Heard {
    let mut heard = Heard::default();
    while let Some(item) = items.next().await {
        let item = item.unwrap();
        assert_eq!(heard.code, None, "nothing comes after the return code");
        heard.stdout += item[0].as_str().unwrap();
        heard.stderr += item[1].as_str().unwrap();
        heard.code = item[2].as_i64();
    }
    heard
}

async fn outcome(shell: &Shell, args: Value) -> Heard {
    all(call(shell, args).await.unwrap()).await
}

async fn refusal(shell: &Shell, args: Value) -> String {
    let error = call(shell, args).await.err().unwrap();
    assert!(matches!(error, DriverError::InvalidArgument(_)), "{error}");
    error.to_string()
}

fn said(stdout: &str, stderr: &str, code: i64) -> Heard {
    Heard { stdout: stdout.into(), stderr: stderr.into(), code: Some(code) }
}

/// Waits for the first item and takes it for process ids.
async fn pids(items: &mut Items, count: usize) -> Vec<i32> {
    let mut text = String::new();
    while text.lines().count() < count || !text.ends_with('\n') {
        text += items.next().await.unwrap().unwrap()[0].as_str().unwrap();
    }
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_script_gets_its_name_arguments_and_variables() {
    let shell = build(json!({
        "methods": {"greet": "echo \"$0 $1 $2 $WHO\"; pwd; echo oops >&2; exit 3"},
        "cwd": "/",
    }));
    let args = json!(["greet", {"WHO": "world"}, "a b", "c"]);
    assert_eq!(outcome(&shell, args).await, said("greet a b c world\n/\n", "oops\n", 3));
}

#[tokio::test]
async fn methods_are_told_in_order() {
    let shell = build(json!({"methods": {
        "z": "true", "a": {"command": "true", "description": "Does nothing"}, "m": "true",
    }}));
    let get = Call { method: "get_methods", args: Args::default(), resources: &Nothing };
    assert_eq!(shell.call(get).await.unwrap(), json!(["z", "a", "m"]));
    let described = shell.methods_description();
    assert_eq!(described.into_iter().collect::<Vec<_>>(), [("a".into(), "Does nothing".into())]);
}

#[tokio::test]
async fn another_shell_can_be_chosen() {
    let shell = build(json!({"methods": {"go": "echo $0"}, "shell": ["sh", "-e", "-c"]}));
    assert_eq!(outcome(&shell, json!(["go", null])).await, said("go\n", "", 0));
    let shell = build(json!({"methods": {"go": "x"}, "shell": ["/no/such/shell"]}));
    let error = call(&shell, json!(["go", null])).await.err().unwrap();
    assert_eq!(error.to_string(), "run /no/such/shell: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_signal_is_a_negative_return_code() {
    assert_eq!(outcome(&script("kill -9 $$"), json!(["go", {}])).await, said("", "", -9));
}

#[tokio::test]
async fn output_arrives_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let shell = script("echo first; read line < $1; echo $line");
    let mut items = call(&shell, json!(["go", {}, fifo.to_str().unwrap()])).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), json!(["first\n", "", null]));
    tokio::task::spawn_blocking(move || fs::write(fifo, "second\n")).await.unwrap().unwrap();
    assert_eq!(all(items).await, said("second\n", "", 0));
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let shell =
        script("head -c 1000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2");
    let heard = outcome(&shell, json!(["go", {}])).await;
    assert_eq!(heard.stdout, "x".repeat(1_000_000));
    assert_eq!(heard.stderr, "y".repeat(300_000));
}

#[tokio::test]
async fn text_is_text_and_the_rest_is_replaced() {
    let shell = script(r"printf '\xe2\x82'; sleep 0.05; printf '\xac\xff\xe2\x82'");
    let mut items = call(&shell, json!(["go", {}])).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap()[0], "€\u{fffd}");
    assert_eq!(items.next().await.unwrap().unwrap(), json!(["\u{fffd}", "", 0]));
}

#[tokio::test]
async fn a_background_child_is_heard_to_the_end() {
    let shell = script("(sleep 0.1; echo late) & echo early");
    assert_eq!(outcome(&shell, json!(["go", {}])).await, said("early\nlate\n", "", 0));
}

#[tokio::test]
async fn what_runs_out_of_time_is_ended_with_its_children() {
    let shell = build(json!({"methods": {"slow": {
        "command": "trap 'echo bye; exit' TERM; sleep 1000 & echo $!; echo $$; wait",
        "timeout": 30.5,
    }}}));
    let mut items = call(&shell, json!(["slow", {}])).await.unwrap();
    let pids = pids(&mut items, 2).await;
    pass(Duration::from_secs(31)).await;
    let expired = "\nTimeout expired while running slow: Command '['bash', '-c', \
        \"trap 'echo bye; exit' TERM; sleep 1000 & echo $!; echo $$; wait\", 'slow']' \
        timed out after 30.5 seconds\n";
    assert_eq!(all(items).await, said("bye\n", expired, 199));
    assert!(!pids.iter().any(|&pid| lives(pid)), "they are gone before the client is told");
}

#[tokio::test]
async fn what_ignores_the_request_to_end_is_killed() {
    let shell = script("trap '' TERM; echo $$; while :; do sleep 1000; done");
    let mut items = call(&shell, json!(["go", {}])).await.unwrap();
    let pids = pids(&mut items, 1).await;
    // From here on the clock jumps over what nobody has to wait for.
    tokio::time::pause();
    let start = Instant::now();
    let heard = all(items).await;
    assert_eq!(heard.code, Some(199));
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(304), "300 s to run, and 5 s of grace, but {took:?}");
    // The clock that jumps leaves a real process no time to be gone already.
    tokio::time::resume();
    gone(&pids).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_client_goes() {
    // In the group, in a group of its own, in a session of its own, and without the mark.
    let shell = script(
        "sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; set +m
         setsid sleep 1000 & echo $!; env -i sleep 1000 & echo $!; echo $$; wait",
    );
    let mut items = call(&shell, json!(["go", {}])).await.unwrap();
    let pids = pids(&mut items, 5).await;
    assert!(pids.iter().all(|&pid| lives(pid)));
    drop(items);
    gone(&pids).await;
}

#[tokio::test]
async fn nothing_is_left_when_nobody_listens_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let shell = script("echo $$ > $1; yes");
    let args = json!(["go", {}, file.to_str().unwrap()]);
    let items = call(&shell, args).await.unwrap();
    let pid = noted(&file).await;
    drop(items);
    gone(&[pid]).await;
}

#[tokio::test]
async fn close_ends_what_runs_and_what_was_left_running() {
    let shell = build(json!({"methods": {
        "serve": "setsid sleep 1000 > /dev/null 2>&1 & echo $!",
        "run": "echo $$; sleep 1000",
    }}));
    let mut items = call(&shell, json!(["serve", {}])).await.unwrap();
    let server = pids(&mut items, 1).await;
    assert_eq!(all(items).await.code, Some(0));
    let mut items = call(&shell, json!(["run", {}])).await.unwrap();
    let running = pids(&mut items, 1).await;
    assert!(lives(server[0]), "a script may leave something running");
    shell.close().await;
    assert!(!lives(server[0]) && !lives(running[0]));
    let last = items.next().await.unwrap().unwrap_err();
    assert_eq!(last.to_string(), "run was stopped");
    assert!(items.next().await.is_none());
    assert_eq!(outcome(&shell, json!(["serve", {}])).await.code, Some(0), "it can be used again");
    shell.close().await;
}

#[tokio::test]
async fn nothing_is_left_when_the_driver_is_dropped() {
    let shell = script("echo $$; sleep 1000");
    let mut items = call(&shell, json!(["go", {}])).await.unwrap();
    let pids = pids(&mut items, 1).await;
    drop(shell);
    gone(&pids).await;
}

#[test]
fn nothing_is_left_when_the_runtime_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shell = script("echo $$; sleep 1000");
    let pids = runtime.block_on(async {
        let mut items = call(&shell, json!(["go", {}])).await.unwrap();
        pids(&mut items, 1).await
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gone(&pids));
}

#[tokio::test]
async fn every_process_is_marked() {
    let shell = script("env | grep ^HILT_RUN=");
    let heard = outcome(&shell, json!(["go", {"HILT_RUN": "forged"}])).await;
    let mark = heard.stdout.trim().strip_prefix("HILT_RUN=").unwrap();
    assert!(Uuid::parse_str(mark).is_ok(), "{mark}");
    assert_ne!(outcome(&shell, json!(["go", {}])).await.stdout, heard.stdout);
}

#[tokio::test]
async fn a_client_may_not_set_every_variable() {
    let shell = script("true");
    for name in BLOCKED.iter().chain(&["LD_AUDIT", "BASH_FUNC_x"]) {
        assert_eq!(
            refusal(&shell, json!(["go", {*name: "x"}])).await,
            format!("Environment variable '{name}' is blocked for security reasons")
        );
    }
    for name in ["", "1A", "A-B", "BASH_FUNC_x%%"] {
        assert_eq!(
            refusal(&shell, json!(["go", {name: "x"}])).await,
            format!("Invalid environment variable name: {name}")
        );
    }
    assert_eq!(
        refusal(&shell, json!(["go", {"A": 1}])).await,
        "Environment variable 'A' must be a string, got <class 'float'>"
    );
    assert_eq!(outcome(&shell, json!(["go", null])).await.code, Some(0));
}

#[tokio::test]
async fn a_call_that_makes_no_sense_is_refused() {
    let shell = build(json!({"methods": {"a": "true", "b": " "}}));
    assert_eq!(
        refusal(&shell, json!(["c", {}])).await,
        "Method 'c' not found in available methods: ['a', 'b']"
    );
    assert_eq!(refusal(&shell, json!(["b", {}])).await, "Shell script must be a non-empty string");
    for (arg, class) in [(json!(1.0), "float"), (json!(null), "NoneType"), (json!([]), "list")] {
        assert_eq!(
            refusal(&shell, json!(["a", {}, "fine", arg])).await,
            format!("All arguments must be strings, got <class '{class}'>")
        );
    }
    assert_eq!(refusal(&shell, json!(["a", {}, "x\u{0}y"])).await, "embedded null byte");
    let shell = build(json!({"methods": {"a": "true"}, "cwd": "/no/such"}));
    assert_eq!(
        refusal(&shell, json!(["a", {}])).await,
        "Working directory does not exist: /no/such"
    );
}

#[test]
fn settings_are_checked() {
    let entry = registry::find("jumpstarter_driver_shell.driver.Shell").unwrap();
    assert!(entry.build(json!({"methods": {"a": "true"}})).is_ok());
    assert!(entry.build(json!({"methods": {"a": "true"}, "user": "me"})).is_err());
}
