//! A lab of one host, with everything that `jmp` can ask of a controller.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;

use super::cases;
use crate::bench::Bench;
use crate::lab::Lab;

cases![
    exporters_and_leases,
    a_shell_takes_a_lease_and_gives_it_back,
    a_shell_takes_the_exporter_of_a_name,
    a_shell_in_a_lease_that_is_there,
    two_clients_queue_for_one_bench,
    the_lease_of_a_killed_client_runs_out,
    expiry_in_the_shell,
    expiry_in_the_queue,
    expiry_in_the_hooks,
    a_lease_for_later,
    a_lease_is_handed_over,
    tokens_are_rotated_and_revoked,
    login_with_an_invitation,
    an_assistant_uses_the_bench,
    a_crash_forgets_nothing,
    the_oldest_client,
];

const BODY: &str = "
labels: {board: demo}
hooks:
  beforeLease: {script: 'echo for $CLIENT_NAME >> hooks; j power on'}
  afterLease: {script: 'echo after $CLIENT_NAME >> hooks; j power off'}
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
";

async fn exporters_and_leases(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let shown = lab.jmp("ann", "get exporters", &["--with", "leases", "--with", "online"]).await?;
    ensure!(shown.contains("bench") && shown.contains("board=demo"), "the exporter and its labels");
    let none = lab.jmp("ann", "get exporters", &["-l", "board notin (demo)"]).await?;
    ensure!(!none.contains("board=demo"), "a selector in full");

    let arguments = ["-l", "board=demo", "--duration", "10m", "--lease-id", "one", "--tag", "ci=7"];
    let created = lab.jmp("ann", "create lease", &arguments).await?;
    ensure!(created.contains("bench"), "a free bench is assigned at once");
    let tagged = lab.jmp("ann", "get leases", &["--tag-filter", "ci=7", "-o", "name"]).await?;
    ensure!(tagged.lines() == ["one"], "found by its tag");
    let others = lab.jmp("ann", "get leases", &["--tag-filter", "ci!=7", "-o", "name"]).await?;
    ensure!(others.lines().is_empty(), "and not found by another");
    let longer =
        lab.jmp("ann", "update lease", &["one", "--duration", "20m", "-o", "json"]).await?;
    ensure!(longer.contains("one"), "a longer one");
    ensure!(lab.hilt(&["leases"]).await?.ok()?.contains("one: ann has bench"), "for people");
    lab.jmp("ann", "delete leases", &["one"]).await?;
    ensure!(lab.reason("ann", "one").await? == "Released", "it is over");
    lab.stop().await
}

async fn a_shell_takes_a_lease_and_gives_it_back(bench: &Bench) -> Result<()> {
    shell(bench, ["-l", "board=demo"]).await
}

async fn a_shell_takes_the_exporter_of_a_name(bench: &Bench) -> Result<()> {
    shell(bench, ["-n", "bench"]).await
}

async fn shell(bench: &Bench, choice: [&str; 2]) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let script = "j power off && echo $JMP_EXPORTER in $JMP_LEASE";
    let arguments = [&choice[..], &["--", "sh", "-c", script]].concat();
    let output = lab.jmp("ann", "shell", &arguments).await?;
    ensure!(output.contains("bench in "), "the shell has the bench");
    ensure!(bench.read("hooks")? == b"for ann\nafter ann\n", "both hooks have run");
    lab.stop().await
}

async fn a_shell_in_a_lease_that_is_there(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let arguments = ["-l", "board=demo", "--duration", "10m", "--lease-id", "one"];
    lab.jmp("ann", "create lease", &arguments).await?;
    for _ in 0..2 {
        lab.jmp("ann", "shell", &["--lease", "one", "--", "j", "power", "on"]).await?;
    }
    ensure!(bench.read("hooks")? == b"for ann\n", "the lease goes on");
    lab.stop().await
}

async fn two_clients_queue_for_one_bench(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    lab.add("bob").await?;
    let script = "until [ -e go ]; do sleep 0.05; done; echo first done";
    let arguments = ["-l", "board=demo", "--", "sh", "-c", script];
    let first = lab.start_jmp("ann", "shell", &arguments)?;
    bench_is_for(bench, "for ann\n").await?;
    let arguments = ["-l", "board=demo", "--", "sh", "-c", "echo second; j power on"];
    let second = lab.start_jmp("bob", "shell", &arguments)?;
    let waits = async {
        while !lab.hilt(&["leases"]).await?.ok()?.contains("bob waits for board=demo") {}
        anyhow::Ok(())
    };
    crate::process::patiently("the second client to wait", waits).await??;
    bench.write("go", "")?;
    ensure!(first.ends().await?.ok()?.contains("first done"), "the first has the bench");
    ensure!(second.ends().await?.ok()?.contains("second"), "and then the second");
    lab.stop().await
}

async fn the_lease_of_a_killed_client_runs_out(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    lab.add("bob").await?;
    let arguments = ["-l", "board=demo", "--duration", "8s", "--", "sleep", "1000"];
    let killed = lab.start_jmp("ann", "shell", &arguments)?;
    bench_is_for(bench, "for ann\n").await?;
    killed.signal(Signal::SIGKILL)?;
    let arguments = ["-l", "board=demo", "--", "j", "power", "on"];
    lab.jmp("bob", "shell", &arguments).await?;
    ensure!(
        bench.read("hooks")? == b"for ann\nafter ann\nfor bob\nafter bob\n",
        "the bench was cleaned up in between"
    );
    lab.stop().await
}

async fn expiry_in_the_shell(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    // `jmp` ends it by SIGHUP, which whoever runs the tests may ignore.
    let command = "exec env --default-signal=HUP sleep 1000";
    let arguments = ["-l", "board=demo", "--duration", "6s", "--", "sh", "-c", command];
    let shell = lab.start_jmp("ann", "shell", &arguments)?;
    shell.ends().await.context("the shell ends with its lease")?;
    bench_is_for(bench, "for ann\nafter ann\n").await?;
    lab.stop().await
}

async fn expiry_in_the_queue(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let arguments = ["-l", "board=demo", "--duration", "3s", "--lease-id", "one"];
    lab.jmp("ann", "create lease", &arguments).await?;
    let arguments = ["-l", "board=demo", "--duration", "3s", "--lease-id", "two"];
    lab.jmp("ann", "create lease", &arguments).await?;
    lab.waits_for("ann", "one", "Expired").await?;
    lab.waits_for("ann", "two", "Expired").await?;
    lab.stop().await
}

async fn expiry_in_the_hooks(bench: &Bench) -> Result<()> {
    let held = "
labels: {board: demo}
hooks:
  beforeLease: {script: 'echo before >> hooks; until [ -e ready ]; do sleep 0.05; done'}
  afterLease: {script: 'echo after >> hooks; until [ -e clean ]; do sleep 0.05; done'}
export:
  power: {type: jumpstarter_driver_power.driver.MockPower}
";
    let lab = Lab::start(bench, held).await?;
    lab.add("ann").await?;
    let arguments = ["-l", "board=demo", "--duration", "3s", "--lease-id", "one"];
    lab.jmp("ann", "create lease", &arguments).await?;
    lab.waits_for("ann", "one", "Expired").await?;
    ensure!(bench.read("hooks")? == b"before\n", "a hook is let finish");
    bench.write("ready", "")?;
    bench_is_for(bench, "before\nafter\n").await?;
    bench.write("clean", "")?;

    let arguments = ["-l", "board=demo", "--duration", "8s", "--", "sh", "-c", "rm clean"];
    let shell = lab.start_jmp("ann", "shell", &arguments)?;
    bench_is_for(bench, "before\nafter\nbefore\nafter\n").await?;
    let over = async {
        while !lab.jmp("ann", "get leases", &["-o", "name"]).await?.lines().is_empty() {}
        anyhow::Ok(())
    };
    crate::process::patiently("the lease to run out", over).await??;
    bench.write("clean", "")?;
    shell.ends().await.context("the shell ends with its lease")?;

    lab.jmp("ann", "shell", &["-l", "board=demo", "--", "j", "power", "on"]).await?;
    bench_is_for(bench, &"before\nafter\n".repeat(3)).await?;
    lab.stop().await
}

async fn a_lease_for_later(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let begin = (Timestamp::now() + SignedDuration::from_secs(30)).to_string();
    let arguments =
        ["-l", "board=demo", "--duration", "10m", "--begin-time", &begin, "--lease-id", "later"];
    lab.jmp("ann", "create lease", &arguments).await?;
    ensure!(lab.reason("ann", "later").await?.is_empty(), "its time has not come");
    lab.waits_for("ann", "later", "Ready").await?;
    lab.stop().await
}

async fn a_lease_is_handed_over(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    lab.add("bob").await?;
    let arguments = ["-l", "board=demo", "--duration", "10m", "--lease-id", "one"];
    lab.jmp("ann", "create lease", &arguments).await?;
    lab.jmp("ann", "update lease", &["one", "--to-client", "bob"]).await?;
    let refused = lab.start_jmp("ann", "delete leases", &["one"])?.ends().await?.with_code(1)?;
    ensure!(refused.contains("permission denied"), "it is not hers any more");
    lab.jmp("bob", "shell", &["--lease", "one", "--", "j", "power", "on"]).await?;
    lab.stop().await
}

async fn tokens_are_rotated_and_revoked(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let status = lab.jmp("ann", "auth status", &[]).await?;
    ensure!(status.contains("Status: Valid"), "jmp can read the token");
    ensure!(lab.jmp("ann", "auth rotate", &[]).await?.contains("Token rotated"), "and has another");
    lab.jmp("ann", "get exporters", &[]).await?;
    lab.hilt(&["client", "remove", "ann"]).await?.ok()?;
    let refused = lab.start_jmp("ann", "get exporters", &[])?.ends().await?.with_code(1)?;
    ensure!(refused.contains("not found"), "who was removed is nobody");
    lab.stop().await
}

async fn login_with_an_invitation(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    let printed = lab.hilt(&["client", "add", "ann", "--invite"]).await?.ok()?.stdout();
    ensure!(printed.contains(&lab.address().to_string()), "where to log in");
    let typed = printed.trim().strip_prefix("jmp ").context("a command to type")?;
    for is_first in [true, false] {
        let mut jmp = bench.command(bench.prepared().reference.join("jmp"));
        jmp.args(typed.split(' '));
        let ended = bench.start("jmp login", jmp)?.ends().await?;
        ensure!((ended.code() == 0) == is_first, "an invitation is good once");
    }
    lab.jmp("ann", "get exporters", &[]).await?;
    lab.stop().await
}

async fn an_assistant_uses_the_bench(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    let mut jmp = bench.command(bench.prepared().reference.join("jmp"));
    jmp.args(["config", "client", "use", "ann"]);
    bench.start("jmp config client use", jmp)?.ends().await?.ok()?;
    let mut script = bench.command(bench.prepared().reference.join("python"));
    script.args(["-m", "mcp_tools"]);
    let output = bench.start("an assistant", script)?.ends().await?.ok()?;
    ensure!(output.contains("done"), "every tool has worked");
    lab.stop().await
}

async fn a_crash_forgets_nothing(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    lab.add("bob").await?;
    let create = |name| ["-l", "board=demo", "--duration", "10m", "--lease-id", name];
    lab.jmp("ann", "create lease", &create("one")).await?;
    lab.jmp("bob", "create lease", &create("two")).await?;
    let lab = lab.crash_and_restart().await?;
    ensure!(lab.reason("ann", "one").await? == "Ready", "who had the bench has it");
    ensure!(lab.reason("bob", "two").await? == "NotAvailable", "who waited waits");
    lab.jmp("ann", "shell", &["--lease", "one", "--", "j", "power", "on"]).await?;
    lab.jmp("ann", "delete leases", &["one"]).await?;
    lab.waits_for("bob", "two", "Ready").await?;
    lab.stop().await
}

/// It knows neither GetStatus nor EndSession, and only says that its lease may go.
async fn the_oldest_client(bench: &Bench) -> Result<()> {
    let lab = Lab::start(bench, BODY).await?;
    lab.add("ann").await?;
    lab.oldest_jmp("ann", "get exporters", &[]).await?;
    let script = "j power off && echo served";
    let arguments = ["-l", "board=demo", "--", "sh", "-c", script];
    let output = lab.oldest_jmp("ann", "shell", &arguments).await?;
    ensure!(output.contains("served"), "the shell has the bench");
    bench_is_for(bench, "for ann\nafter ann\n").await?;
    lab.stop().await
}

/// Waits until the hooks have written this.
async fn bench_is_for(bench: &Bench, wanted: &str) -> Result<()> {
    let poll = async {
        while bench.read("hooks").unwrap_or_default() != wanted.as_bytes() {
            tokio::time::sleep(crate::bench::POLL).await;
        }
    };
    crate::process::patiently(&format!("the hooks to say {wanted:?}"), poll).await
}
