//! A lease, with the hooks around it at work on devices.

use anyhow::{Result, ensure};
use indoc::indoc;
use nix::sys::signal::Signal;

use super::cases;
use super::power::position;
use crate::benches::rig::Rig;

cases![hooks_switch_the_power: Power];

const HOOKS: &str = indoc! {"
    hooks:
      beforeLease: { script: '{j} power on', onFailure: endLease }
      afterLease: { script: '{j} power off && {j} power status >position.new && mv position.new position' }
"};

async fn hooks_switch_the_power(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter_with(HOOKS).await?;
    let told = position(exporter.client(), "power").await?;
    ensure!(told == "on", "after the beforeLease hook it says that it is {told:?}");
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    let told = rig.bench().file("position").await?;
    ensure!(told.trim() == "off", "in the afterLease hook it says that it is {told:?}");
    Ok(())
}
