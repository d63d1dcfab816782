//! A power switch: whether it does what it is told, and says so only then.

use anyhow::{Result, ensure};

use super::cases;
use crate::benches::rig::Rig;
use crate::client::Client;
use crate::emulator::Mood;

cases![
    switches: Power;
    cycles: Power;
    leaves_its_neighbour_alone: Power, Neighbour;
    shares_its_hub_with_another_exporter: Power, Neighbour, UnplugHub;
    survives_an_unplugged_hub: Power, UnplugHub;
    says_that_the_hub_is_missing: Power, UnplugHub;
    garbage_is_an_error: Power, Misbehave;
    half_a_report_is_an_error: Power, Misbehave;
    silence_is_an_error: Power, Misbehave;
];

/// The position that the switch tells.
pub(super) async fn position(client: &Client<'_>, switch: &str) -> Result<String> {
    let told = client.own_j(&[switch, "status"]).await?.ok()?;
    Ok(told.stdout().trim().to_owned())
}

/// Tells the switch a position, and insists that it says so.
async fn switch(client: &Client<'_>, name: &str, to: &str) -> Result<()> {
    client.own_j(&[name, to]).await?.ok()?;
    let told = position(client, name).await?;
    ensure!(told == to, "{name} was switched {to}, and says that it is {told:?}");
    Ok(())
}

async fn switches(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for to in ["off", "on", "off"] {
        switch(exporter.client(), "power", to).await?;
        if let Ok(hub) = rig.hub() {
            hub.must_have([to == "on", true, true])?;
        }
    }
    Ok(())
}

async fn cycles(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    switch(exporter.client(), "power", "on").await?;
    exporter.client().own_j(&["power", "cycle", "--wait", "0"]).await?.ok()?;
    let told = position(exporter.client(), "power").await?;
    ensure!(told == "on", "after a cycle it says that it is {told:?}");
    Ok(())
}

async fn leaves_its_neighbour_alone(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (one, other) in [("power", "neighbour"), ("neighbour", "power")] {
        switch(exporter.client(), one, "on").await?;
        switch(exporter.client(), other, "off").await?;
        let told = position(exporter.client(), one).await?;
        ensure!(told == "on", "{other} was switched, and {one} says that it is {told:?}");
    }
    Ok(())
}

/// A program that has the hub keeps others from it, and the second one is told so.
async fn shares_its_hub_with_another_exporter(rig: &Rig) -> Result<()> {
    let first = rig.exporter().await?;
    switch(first.client(), "power", "on").await?;
    let second = rig.second_exporter().await?;
    let refused = second.client().own_j(&["neighbour", "off"]).await?.with_code(1)?;
    ensure!(refused.stderr().contains("in use by"), "{}", refused.stderr());
    switch(first.client(), "neighbour", "on").await?;
    first.signal(nix::sys::signal::Signal::SIGTERM)?;
    first.ends().await?.ok()?;
    switch(second.client(), "neighbour", "off").await
}

async fn survives_an_unplugged_hub(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let hub = rig.hub()?;
    switch(exporter.client(), "power", "off").await?;
    // It is pulled out while it owes an answer.
    hub.answer(Mood::Silent);
    let heard = hub.heard();
    let call = exporter.client().start_own_j(&["power", "on"])?;
    hub.hears(heard).await?;
    hub.unplug().await?;
    hub.answer(Mood::Well);
    hub.plug_in()?;
    call.ends().await?.ok()?;
    hub.must_have([true, true, true])?;
    switch(exporter.client(), "power", "off").await
}

async fn says_that_the_hub_is_missing(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let hub = rig.hub()?;
    switch(exporter.client(), "power", "on").await?;
    hub.unplug().await?;
    let failed = exporter.client().own_j(&["power", "off"]).await?.with_code(1)?;
    ensure!(failed.stderr().contains("there is no YKUSH"), "{}", failed.stderr());
    hub.plug_in()?;
    switch(exporter.client(), "power", "off").await
}

async fn garbage_is_an_error(rig: &Rig) -> Result<()> {
    misbehaves(rig, Mood::Garbage).await
}

async fn half_a_report_is_an_error(rig: &Rig) -> Result<()> {
    misbehaves(rig, Mood::HalfReport).await
}

async fn silence_is_an_error(rig: &Rig) -> Result<()> {
    misbehaves(rig, Mood::Silent).await
}

/// Neither a switch nor a question may be answered as if all were well, and then all is well again.
async fn misbehaves(rig: &Rig, mood: Mood) -> Result<()> {
    let exporter = rig.exporter().await?;
    switch(exporter.client(), "power", "on").await?;
    let hub = rig.hub()?;
    hub.answer(mood);
    for verb in ["off", "status"] {
        let failed = exporter.client().own_j(&["power", verb]).await?.with_code(1)?;
        ensure!(failed.stderr().contains("YK"), "{verb}: {}", failed.stderr());
    }
    hub.answer(Mood::Well);
    switch(exporter.client(), "power", "off").await
}
