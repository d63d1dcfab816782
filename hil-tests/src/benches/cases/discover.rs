//! `hilt discover`: what is plugged in, and how to write it into a configuration.

use anyhow::{Result, ensure};

use super::cases;
use crate::benches::rig::Rig;

cases![finds_every_device: Discover, Mux];

async fn finds_every_device(rig: &Rig) -> Result<()> {
    let found = rig.discover().await?.ok()?;
    for (serial, driver) in rig.plugged_in() {
        let is_there = found.stdout().contains(serial) && found.stdout().contains(driver);
        ensure!(is_there, "no {serial} for {driver} in:\n{}", found.stdout());
    }
    Ok(())
}
