//! A power switch: whether it does what it is told, and says so only then.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;

use super::cases;
use crate::benches::devices::Outlet;
use crate::benches::rig::Rig;
use crate::client::Client;
use crate::emulator::Mood;

cases![
    switches: Power;
    cycles: Power;
    switches_and_does_not_say_where_it_is: BlindPower;
    keeps_its_position_without_an_exporter: Power;
    leaves_its_neighbour_alone: Power, Neighbour;
    shares_its_hub_with_another_exporter: Power, Neighbour, UnplugHub;
    survives_an_unplugged_hub: Power, UnplugHub;
    survives_a_loose_plug: Power, UnplugHub;
    says_that_the_hub_is_missing: Power, UnplugHub;
    garbage_is_an_error: Power, Misbehave;
    half_a_report_is_an_error: Power, Misbehave;
    silence_is_an_error: Power, Misbehave;
    a_port_without_power_has_no_device: Power, PoweredReader, Storage;
    a_port_is_switched_past_an_older_kernel: Power, PoweredReader, OldKernel, Storage;
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
    for (name, outlet) in rig.switches() {
        for to in ["off", "on", "off"] {
            switch(exporter.client(), name, to).await?;
            outlet.map_or(Ok(()), |outlet| outlet.must_be(to == "on")).context(name.to_owned())?;
        }
    }
    Ok(())
}

async fn cycles(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (name, outlet) in rig.switches() {
        switch(exporter.client(), name, "on").await?;
        exporter.client().own_j(&[name, "cycle", "--wait", "0"]).await?.ok()?;
        let told = position(exporter.client(), name).await?;
        ensure!(told == "on", "after a cycle {name} says that it is {told:?}");
        outlet.map_or(Ok(()), |outlet| outlet.must_be(true)).context(name.to_owned())?;
    }
    Ok(())
}

/// One that can't be asked does what it is told, and claims nothing.
async fn switches_and_does_not_say_where_it_is(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (name, outlet) in rig.blind_switches() {
        for to in ["off", "on", "off", "on"] {
            exporter.client().own_j(&[name, to]).await?.ok()?;
            outlet.map_or(Ok(()), |outlet| outlet.must_be(to == "on")).context(name.to_owned())?;
        }
        let asked = exporter.client().own_j(&[name, "status"]).await?.with_code(1)?;
        ensure!(!asked.stderr().is_empty(), "{name}: nothing says why there is no answer");
    }
    Ok(())
}

/// Nothing is switched because an exporter starts or ends: only by those who ask for it.
async fn keeps_its_position_without_an_exporter(rig: &Rig) -> Result<()> {
    for to in ["on", "off"] {
        let exporter = rig.exporter().await?;
        for (name, _) in rig.switches() {
            switch(exporter.client(), name, to).await?;
        }
        exporter.signal(Signal::SIGTERM)?;
        exporter.ends().await?.ok()?;
        let exporter = rig.exporter().await?;
        for (name, outlet) in rig.switches().filter(|(name, _)| !rig.forgets(name)) {
            let told = position(exporter.client(), name).await?;
            ensure!(told == to, "{name} was {to}, and after a restart says that it is {told:?}");
            outlet.map_or(Ok(()), |outlet| outlet.must_be(to == "on")).context(name.to_owned())?;
        }
        exporter.signal(Signal::SIGTERM)?;
        exporter.ends().await?.ok()?;
    }
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
    let second = rig.exporter_of("neighbour").await?;
    let refused = second.client().own_j(&["neighbour", "off"]).await?.with_code(1)?;
    ensure!(refused.stderr().contains("in use by"), "{}", refused.stderr());
    switch(first.client(), "neighbour", "on").await?;
    first.signal(Signal::SIGTERM)?;
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

/// It comes and goes while it is looked for, found and opened: every time it stays a little longer.
async fn survives_a_loose_plug(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let hub = rig.hub()?;
    switch(exporter.client(), "power", "on").await?;
    hub.unplug().await?;
    let call = exporter.client().start_own_j(&["power", "off"])?;
    for round in 0..12 {
        hub.plug_in()?;
        tokio::time::sleep(round * Duration::from_millis(5)).await;
        hub.unplug().await?;
    }
    hub.plug_in()?;
    call.ends().await?.ok()?;
    hub.must_have([false, true, true])
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
    let told = rig.switches().filter_map(|(name, outlet)| {
        let outlet = outlet.filter(|outlet| outlet.gives_itself_away(mood))?;
        Some(is_found_out(exporter.client(), name, outlet, mood))
    });
    // Each takes the time that it is waited for.
    try_join_all(told).await?;
    Ok(())
}

async fn is_found_out(client: &Client<'_>, name: &str, outlet: &Outlet, mood: Mood) -> Result<()> {
    switch(client, name, "on").await?;
    outlet.answer(mood);
    for verb in ["off", "status"] {
        let ended = client.own_j(&[name, verb]).await?;
        let failed = ended.with_code(1).with_context(|| format!("{name} {verb}"))?;
        ensure!(failed.stderr().contains(name), "{name} {verb}: {}", failed.stderr());
    }
    outlet.answer(Mood::Well);
    switch(client, name, "off").await?;
    outlet.must_be(false).context(name.to_owned())
}

/// A device that has no power is not there, and comes back with its power.
async fn a_port_without_power_has_no_device(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    switch(exporter.client(), "port", "off").await?;
    rig.bench().write("image", [0x5a; 4096])?;
    let failed = exporter.client().own_j(&["storage", "flash", "image"]).await?.with_code(1)?;
    ensure!(failed.stderr().contains("it has not appeared on the host"), "{}", failed.stderr());
    switch(exporter.client(), "port", "on").await?;
    exporter.client().own_j(&["storage", "flash", "image"]).await?.ok()?;
    if let Ok(card) = rig.card() {
        ensure!(card.content(4096)? == [0x5a; 4096], "the image is not on the card");
    }
    Ok(())
}

/// The hub is told directly, and the kernel keeps a device in its list that has no power. Nobody may
/// use that meanwhile: to reach it again, such a kernel switches the port on.
async fn a_port_is_switched_past_an_older_kernel(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    rig.card()?.hide_switch_of_port()?;
    for to in ["off", "on", "off", "on"] {
        switch(exporter.client(), "port", to).await?;
    }
    rig.bench().write("image", [0x5a; 4096])?;
    exporter.client().own_j(&["storage", "flash", "image"]).await?.ok()?;
    ensure!(rig.card()?.content(4096)? == [0x5a; 4096], "the image is not on the card");
    Ok(())
}
