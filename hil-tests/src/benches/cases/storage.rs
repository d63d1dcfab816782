//! A card behind a mux: what is reported as written is on it.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use indoc::formatdoc;
use sha2::{Digest as _, Sha256};

use super::cases;
use crate::benches::rig::Rig;
use crate::emulator::{self, Worn};
use crate::peers::web::{Page, Web};
use crate::process::{Ended, Output};
use crate::subject::Exporter;

cases![
    a_flashed_image_is_on_the_card: Storage, SeeCard;
    an_image_that_is_too_large_is_refused: Storage, SeeCard;
    a_truncated_image_is_an_error: Storage, SeeCard;
    a_card_that_is_pulled_is_an_error: Storage, SeeCard, PullCard;
    an_image_of_another_block_map_is_an_error: Storage, SeeCard;
    the_block_map_beside_an_image_on_the_web_is_found: Storage, SeeCard;
    a_bad_block_is_an_error: Storage, SeeCard, BadBlock;
    a_block_that_can_not_be_read_is_an_error: Storage, SeeCard, BadBlock;
    a_card_that_forgets_is_an_error: Storage, SeeCard, Forget;
    a_locked_card_is_an_error: Storage, SeeCard, ReadOnly;
];

const MIB: usize = 1 << 20;

/// Bytes that no compression and no mistake leaves as they are.
pub(super) fn random(length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("making an image")?;
    Ok(bytes)
}

/// A compressed image of which the end is missing.
pub(super) const TRUNCATED: &str = "cut.img.gz";

/// Puts it on the bench.
pub(super) fn truncated(rig: &Rig) -> Result<()> {
    let image = rig.bench().write("whole.img", random(MIB)?)?;
    emulator::program("gzip", &[&image.display().to_string()], "")?;
    let whole = rig.bench().read("whole.img.gz")?;
    rig.bench().write(TRUNCATED, &whole[..whole.len() - 1000])?;
    Ok(())
}

async fn flash(exporter: &Exporter<'_>, image: &str) -> Result<Ended> {
    exporter.client().own_j(&["storage", "flash", image]).await
}

/// A flash failed, for a reason that its message has.
fn failed(flashed: Ended, reason: &str) -> Result<Output> {
    let output = flashed.with_code(1)?;
    ensure!(output.stderr().contains(reason), "no {reason:?} in: {}", output.stderr());
    Ok(output)
}

/// A good image is flashed, as after every failure.
async fn flashes(rig: &Rig, exporter: &Exporter<'_>) -> Result<()> {
    // Its last sector is not full.
    let image = random(3 * MIB + 100)?;
    rig.bench().write("good.img", &image)?;
    flash(exporter, "good.img").await?.ok()?;
    let card = rig.card()?;
    ensure!(card.content(image.len())? == image, "the image is not what is on the card");
    Ok(())
}

async fn a_flashed_image_is_on_the_card(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    flashes(rig, &exporter).await?;
    let image = rig.bench().read("good.img")?;
    exporter.client().own_j(&["storage", "dump", "dump.img"]).await?.ok()?;
    let dump = rig.bench().read("dump.img")?;
    ensure!(u64::try_from(dump.len())? == rig.card()?.size(), "{} bytes were read", dump.len());
    ensure!(dump.starts_with(&image), "what was read is not what was written");
    Ok(())
}

async fn an_image_that_is_too_large_is_refused(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let size = usize::try_from(rig.card()?.size())?;
    rig.bench().write("large.img", random(size + 1)?)?;
    let flashed = flash(&exporter, "large.img").await?;
    failed(flashed, &size.to_string())?;
    flashes(rig, &exporter).await
}

async fn a_truncated_image_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    truncated(rig)?;
    let flashed = flash(&exporter, TRUNCATED).await?;
    failed(flashed, "gz")?;
    flashes(rig, &exporter).await
}

async fn a_card_that_is_pulled_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let card = rig.card()?;
    let image = random(usize::try_from(card.size())?)?;
    rig.bench().write("image", &image)?;
    let flashing = exporter.client().start_own_j(&["storage", "flash", "image"])?;
    card.receives(&image).await?;
    card.pull()?;
    failed(flashing.ends().await?, "")?;
    ensure!(card.content(image.len())? != image, "all was written before the card was pulled");
    card.plug_in()?;
    flashes(rig, &exporter).await
}

async fn a_bad_block_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let (card, at) = (rig.card()?, 5 * MIB);
    card.wear_out(Worn::Write(u64::try_from(at)?)).await?;
    rig.bench().write("image", random(8 * MIB)?)?;
    let flashed = exporter.client().own_j(&["worn", "flash", "image"]).await?;
    failed(flashed, "write at byte 5242880 of")?;
    flashes(rig, &exporter).await
}

async fn a_block_that_can_not_be_read_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    rig.card()?.wear_out(Worn::Read(5 << 20)).await?;
    let dumped = exporter.client().own_j(&["worn", "dump", "dump.img"]).await?;
    failed(dumped, "read")?;
    flashes(rig, &exporter).await
}

/// It says that all is written, and has none of it.
async fn a_card_that_forgets_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    rig.card()?.wear_out(Worn::Forgets).await?;
    rig.bench().write("image", random(3 * MIB)?)?;
    let flashed = exporter.client().own_j(&["worn", "flash", "image"]).await?;
    failed(flashed, "is not as it was written")?;
    flashes(rig, &exporter).await
}

async fn an_image_of_another_block_map_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let (image, other) = (random(MIB)?, random(MIB)?);
    rig.bench().write("mapped.img", &image)?;
    rig.bench().write("mapped.img.bmap", block_map(&other))?;
    let flashed = flash(&exporter, "mapped.img").await?;
    failed(flashed, "are not those of the block map")?;
    // One that is cut off is none of the map's, either.
    rig.bench().write("mapped.img", &other[..MIB / 2])?;
    let flashed = flash(&exporter, "mapped.img").await?;
    failed(flashed, "block map")?;
    rig.bench().write("mapped.img", &other)?;
    flash(&exporter, "mapped.img").await?.ok()?;
    ensure!(rig.card()?.content(MIB)? == other, "the image is not what is on the card");
    Ok(())
}

async fn the_block_map_beside_an_image_on_the_web_is_found(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let (image, other) = (random(MIB)?, random(MIB)?);
    let web = Web::serve(vec![
        ("/other.img", Page::File(other.clone())),
        ("/other.bmap", Page::File(block_map(&image).into())),
        ("/mapped.img", Page::File(image.clone())),
        ("/mapped.img.bmap", Page::File(block_map(&image).into())),
        ("/alone.img", Page::File(other.clone())),
    ])
    .await?;
    let flashed = flash(&exporter, &web.url("/other.img")).await?;
    failed(flashed, "are not those of the block map")?;
    for (path, content) in [("/mapped.img", image), ("/alone.img", other)] {
        flash(&exporter, &web.url(path)).await?.ok()?;
        ensure!(rig.card()?.content(MIB)? == content, "{path} is not what is on the card");
    }
    Ok(())
}

/// The block map of an image that has no holes, as `bmaptool create` writes it.
fn block_map(image: &[u8]) -> String {
    let sum = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let (size, blocks) = (image.len(), image.len() / 4096);
    let (last, checksum, none) = (blocks - 1, sum(image), "0".repeat(64));
    let map = formatdoc! {r#"
        <?xml version="1.0" ?>
        <bmap version="2.0">
            <ImageSize>{size}</ImageSize>
            <BlockSize>4096</BlockSize>
            <BlocksCount>{blocks}</BlocksCount>
            <MappedBlocksCount>{blocks}</MappedBlocksCount>
            <ChecksumType>sha256</ChecksumType>
            <BmapFileChecksum>{none}</BmapFileChecksum>
            <BlockMap>
                <Range chksum="{checksum}">0-{last}</Range>
            </BlockMap>
        </bmap>
    "#};
    // Its own checksum is that of the map with zeros in its place.
    map.replacen(&none, &sum(map.as_bytes()), 1)
}

async fn a_locked_card_is_an_error(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let card = rig.card()?;
    card.lock(true)?;
    rig.bench().write("image", random(MIB)?)?;
    let flashed = flash(&exporter, "image").await?;
    failed(flashed, "can only be read")?;
    ensure!(card.content(4096)? == [0; 4096], "a locked card was written");
    card.lock(false)?;
    flashes(rig, &exporter).await
}
