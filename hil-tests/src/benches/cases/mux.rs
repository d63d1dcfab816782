//! A mux with a card in it: who has the card, and that nobody writes to one that is somewhere else.

use anyhow::{Context as _, Result, ensure};

use super::cases;
use super::storage::{TRUNCATED, random, truncated};
use crate::benches::devices::Card;
use crate::benches::rig::Rig;
use crate::emulator::{Defect, Side};
use crate::subject::Exporter;

cases![
    moves_the_card: Mux;
    a_flashed_image_is_on_the_card_and_the_dut_has_it: Mux;
    a_failed_flash_gives_the_card_back: Mux;
    a_mux_that_is_stuck_is_an_error: Mux, BreakMux;
    a_mux_that_is_pulled_is_an_error: Mux, BreakMux;
    a_card_that_shrinks_is_an_error: Mux, BreakMux;
    a_card_that_locks_itself_is_an_error: Mux, BreakMux;
    a_counterfeit_card_is_an_error: Mux, BreakMux;
];

const MIB: usize = 1 << 20;
const MIB_OF_SECTORS: u32 = 2048;

/// What the mux says that it did has happened.
fn is_with(card: Option<&Card>, side: Side) -> Result<()> {
    card.map_or(Ok(()), |card| card.must_be_with(side).and(card.was_treated_well()))
}

async fn moves_the_card(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (name, card) in rig.muxes() {
        for (verb, side) in [("host", Side::Host), ("dut", Side::Dut), ("host", Side::Host)] {
            exporter.client().own_j(&[name, verb]).await?.ok()?;
            is_with(card, side).with_context(|| format!("{name} {verb}"))?;
        }
        // Not every mux can keep it from both.
        exporter.client().own_j(&[name, "off"]).await?.ok()?;
        exporter.client().own_j(&[name, "dut"]).await?.ok()?;
        is_with(card, Side::Dut).with_context(|| format!("{name} dut"))?;
    }
    Ok(())
}

/// A good image is flashed, as after every failure.
async fn flashes(
    rig: &Rig,
    exporter: &Exporter<'_>,
    name: &str,
    card: Option<&Card>,
) -> Result<()> {
    // Its last sector is not full.
    let image = random(3 * MIB + 100)?;
    rig.bench().write("good.img", &image)?;
    exporter.client().own_j(&[name, "flash", "good.img"]).await?.ok()?;
    if let Some(card) = card {
        card.must_be_with(Side::Dut)?;
        ensure!(
            card.content(image.len())? == image,
            "{name}: the image is not what is on the card"
        );
    }
    exporter.client().own_j(&[name, "dump", "dump.img"]).await?.ok()?;
    ensure!(rig.bench().read("dump.img")?.starts_with(&image), "{name}: it reads something else");
    Ok(())
}

async fn a_flashed_image_is_on_the_card_and_the_dut_has_it(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (name, card) in rig.muxes() {
        flashes(rig, &exporter, name, card).await?;
        is_with(card, Side::Dut).with_context(|| name.to_owned())?;
    }
    Ok(())
}

async fn a_failed_flash_gives_the_card_back(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    truncated(rig)?;
    for (name, card) in rig.muxes() {
        let flashed = exporter.client().own_j(&[name, "flash", TRUNCATED]).await?;
        flashed.with_code(1).with_context(|| name.to_owned())?;
        is_with(card, Side::Dut).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// Nothing is written to a card that is not there, and nothing is said to be where it is not.
async fn a_mux_that_is_stuck_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    rig.bench().write("image", random(MIB)?)?;
    for (name, _) in rig.muxes() {
        let card = rig.card_of(name)?;
        let before = card.side()?;
        card.get_stuck(true)?;
        let flashed = exporter.client().own_j(&[name, "flash", "image"]).await?;
        let failed = flashed.with_code(1).with_context(|| name.to_owned())?;
        ensure!(!failed.stderr().is_empty(), "{name}: nothing says why it failed");
        card.must_be_with(before)?;
        ensure!(card.content(MIB)? == vec![0; MIB], "{name}: the card was written");
        card.get_stuck(false)?;
        flashes(rig, &exporter, name, Some(card)).await?;
    }
    Ok(())
}

async fn a_card_that_shrinks_is_an_error(rig: &Rig) -> Result<()> {
    breaks(rig, Defect::Shrinks(MIB_OF_SECTORS)).await
}

async fn a_card_that_locks_itself_is_an_error(rig: &Rig) -> Result<()> {
    breaks(rig, Defect::Locks).await
}

/// It takes everything, and has only its first megabyte afterwards.
async fn a_counterfeit_card_is_an_error(rig: &Rig) -> Result<()> {
    breaks(rig, Defect::IsCounterfeit(MIB_OF_SECTORS.into())).await
}

/// The card breaks while it is written: that is an error, the DUT has it again, and a new card works.
async fn breaks(rig: &Rig, defect: Defect) -> Result<()> {
    let exporter = rig.exporter().await?;
    rig.bench().write("image", random(6 * MIB)?)?;
    for (name, _) in rig.muxes() {
        let card = rig.card_of(name)?;
        card.break_when_written(Some(defect))?;
        let flashed = exporter.client().own_j(&[name, "flash", "image"]).await?;
        let failed = flashed.with_code(1).with_context(|| name.to_owned())?;
        ensure!(!failed.stderr().is_empty(), "{name}: nothing says why it failed");
        card.must_be_with(Side::Dut)?;
        card.break_when_written(None)?;
        flashes(rig, &exporter, name, Some(card)).await?;
    }
    Ok(())
}

/// The mux goes in the middle of a flash, with its reader and the card.
async fn a_mux_that_is_pulled_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    for (name, _) in rig.muxes() {
        let card = rig.card_of(name)?;
        let image = random(usize::try_from(card.size())?)?;
        rig.bench().write("image", &image)?;
        let flashing = exporter.client().start_own_j(&[name, "flash", "image"])?;
        card.receives(&image).await?;
        card.unplug().await?;
        flashing.ends().await?.with_code(1).with_context(|| name.to_owned())?;
        ensure!(card.content(image.len())? != image, "{name}: all was written before");
        card.replug()?;
        flashes(rig, &exporter, name, Some(card)).await?;
    }
    Ok(())
}
