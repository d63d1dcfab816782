//! A power switch: the first thing anybody does with a bench.

use anyhow::{Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::subject::Exporter;

cases![in_a_shell, every_command_reaches_the_device, readings, a_shell_exits_with_its_command];

/// The smallest bench worth having.
pub(super) const POWER: &str = "export: {power: {type: jumpstarter_driver_power.driver.MockPower}}";

async fn in_a_shell(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, POWER).await?;
    exporter.client().shell("j power on && j power read && j power off").await?.ok()?;
    Ok(())
}

async fn every_command_reaches_the_device(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, POWER).await?;
    let mut logs = exporter.client().start_logs()?;
    for command in [&["on"][..], &["off"], &["cycle", "--wait", "0"]] {
        exporter.client().j(&[&["power"], command].concat()).await?.ok()?;
    }
    let expected = ["on", "off", "off", "on"].map(|state| format!("DRIVER INFO power {state}"));
    logs.prints(&expected.join("\n")).await
}

async fn readings(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, POWER).await?;
    let lines = exporter.client().j(&["power", "read"]).await?.ok()?.lines();
    ensure!(
        lines.len() == 2 && lines[1].contains("5.0"),
        "two readings, the second one of 5 V, and not {lines:?}"
    );
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            client.power.on()
            readings = [(reading.voltage, reading.current) for reading in client.power.read()]
            assert readings == [(0.0, 0.0), (5.0, 2.0)], readings
    "};
    exporter.client().python(script).await?;
    Ok(())
}

async fn a_shell_exits_with_its_command(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, POWER).await?;
    exporter.client().shell("exit 7").await?.with_code(7)?;
    Ok(())
}
