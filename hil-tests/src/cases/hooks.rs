//! How a hook runs: its interpreter, its environment, its devices, its time.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use indoc::{formatdoc, indoc};
use nix::unistd::Pid;

use super::cases;
use super::power::POWER;
use crate::bench::Bench;
use crate::known::Known;
use crate::process::is_alive;
use crate::subject::Exporter;

cases![
    environment,
    drives_devices,
    flashes_devices,
    python_script,
    bash_by_exec,
    script_file,
    missing_interpreter,
    time_limit[HooksLeaveOrphans],
];

async fn environment(bench: &Bench) -> Result<()> {
    let _exporter = Exporter::start(
        bench,
        indoc! {"
            hooks:
              beforeLease:
                script: env > environment.new && mv environment.new environment
        "},
    )
    .await?;
    let environment = bench.file("environment").await?;
    let variable =
        |name: &str| environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    for (name, value) in [
        ("LEASE_NAME", Some("standalone")),
        ("CLIENT_NAME", Some("")),
        ("JMP_DRIVERS_ALLOW", Some("UNSAFE")),
        ("TERM", Some("dumb")),
        ("DEBIAN_FRONTEND", Some("noninteractive")),
        ("GIT_TERMINAL_PROMPT", Some("0")),
        ("PS1", None),
        // The exporter's own environment is inherited.
        ("LANG", Some("C.UTF-8")),
    ] {
        ensure!(variable(name) == value, "{name} should be {value:?} and is {:?}", variable(name));
    }
    let socket = variable("JUMPSTARTER_HOST").context("JUMPSTARTER_HOST is set")?;
    ensure!(
        Path::new(socket).is_absolute(),
        "JUMPSTARTER_HOST should be the path of a socket and is {socket}"
    );
    Ok(())
}

/// `JUMPSTARTER_HOST` is a Unix socket here, which the client turns into an `:authority` that is
/// none.
async fn drives_devices(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        &formatdoc! {"
            {POWER}
            hooks:
              beforeLease:
                script: j power on && j power read && echo driven
                onFailure: endLease
        "},
    )
    .await?;
    let mut logs = exporter.client().start_logs()?;
    for line in [
        "DRIVER INFO power on",
        "BEFORE_LEASE_HOOK INFO voltage=5.0",
        "BEFORE_LEASE_HOOK INFO driven",
    ] {
        logs.prints(line).await?;
    }
    Ok(())
}

/// The streams of a resource over the hook's socket.
async fn flashes_devices(bench: &Bench) -> Result<()> {
    let image = "a well-known image\n".repeat(10_000);
    bench.write("image", &image)?;
    let exporter = Exporter::start(
        bench,
        indoc! {"
            export: {flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}}
            hooks:
              beforeLease:
                script: j flasher flash image && j flasher dump dump && echo flashed
                onFailure: endLease
        "},
    )
    .await?;
    exporter.client().start_logs()?.prints("BEFORE_LEASE_HOOK INFO flashed").await?;
    ensure!(bench.read("dump")? == image.as_bytes(), "the image should come back as it was");
    Ok(())
}

async fn python_script(bench: &Bench) -> Result<()> {
    let hook = indoc! {"
        import os
        from jumpstarter.utils.env import env
        with env() as client:
            client.power.on()
            volts = list(client.power.read())[1].voltage
            print('lease', os.environ['LEASE_NAME'], 'at', volts, 'V')
    "};
    bench.write("prepare.py", hook)?;
    let exporter = Exporter::start(
        bench,
        &format!("{POWER}\nhooks: {{beforeLease: {{script: prepare.py, onFailure: endLease}}}}"),
    )
    .await?;
    exporter.client().start_logs()?.prints("BEFORE_LEASE_HOOK INFO lease standalone at 5.0 V").await
}

async fn bash_by_exec(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        indoc! {r#"
            hooks:
              beforeLease:
                exec: /bin/bash
                script: |
                  words=(bash has arrays)
                  [[ ${#words[@]} == 3 ]] && echo "${words[*]}"
                onFailure: endLease
        "#},
    )
    .await?;
    exporter.client().start_logs()?.prints("BEFORE_LEASE_HOOK INFO bash has arrays").await
}

async fn script_file(bench: &Bench) -> Result<()> {
    // Nobody made it executable.
    let script = bench.write("prepare.sh", "echo $0 of ${BASH_VERSION:-sh}\n")?;
    let line = format!("BEFORE_LEASE_HOOK INFO {} of", script.display());
    let hook = |exec: &str| {
        format!(
            "hooks: {{beforeLease: {{script: {}, {exec} onFailure: endLease}}}}",
            script.display()
        )
    };
    let plain = Exporter::start(bench, &hook("")).await?;
    plain.client().start_logs()?.prints(&format!("{line} sh")).await?;
    let bash = Exporter::start(bench, &hook("exec: /bin/bash,")).await?;
    bash.client().start_logs()?.prints(&format!("{line} 5.")).await
}

async fn missing_interpreter(bench: &Bench) -> Result<()> {
    let hook = "hooks: {beforeLease: {script: 'true', exec: /nowhere/sh, onFailure: endLease}}";
    let exporter = Exporter::start(bench, hook).await?;
    let text = "beforeLease hook failed (on_failure=endLease): Error executing hook: ";
    exporter
        .client()
        .start_statuses()?
        .prints(&format!(" BEFORE_LEASE_HOOK_FAILED after BEFORE_LEASE_HOOK: {text}"))
        .await
}

/// A script that waits for a child which would take ten minutes.
pub(super) const WAITING: &str = "sleep 600 & echo $! > child.new && mv child.new child; wait";

/// The pid of the child of [`WAITING`], as soon as there is one.
pub(super) async fn waiting_child(bench: &Bench) -> Result<Pid> {
    Ok(Pid::from_raw(bench.file("child").await?.trim().parse()?))
}

async fn time_limit(bench: &Bench) -> Result<()> {
    let hook =
        format!("hooks: {{beforeLease: {{script: {WAITING}, timeout: 1, onFailure: endLease}}}}");
    let exporter = Exporter::start(bench, &hook).await?;
    let mut statuses = exporter.client().start_statuses()?;
    let text = "beforeLease hook failed (on_failure=endLease): Hook timed out after 1 seconds";
    statuses
        .prints(&format!(" BEFORE_LEASE_HOOK_FAILED after BEFORE_LEASE_HOOK: {text}\n"))
        .await?;
    let alive = is_alive(waiting_child(bench).await?);
    ensure!(
        alive == bench.differs(Known::HooksLeaveOrphans),
        "whether a child of the hook is alive: {alive}"
    );
    Ok(())
}
