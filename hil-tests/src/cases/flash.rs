//! Images on their way to a device and back.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![
    sizes,
    targets,
    storage_mux,
    storage_mux_of_a_board,
    compressed_sources,
    compressed_sinks[SinksAreNotFlushed],
];

pub(super) const DEVICES: &str = indoc! {"
    export:
      flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}
      mux: {type: jumpstarter_driver_opendal.driver.MockStorageMux}
      board: {type: jumpstarter_driver_opendal.driver.MockStorageMuxFlasher}
"};

/// Bytes that no compression and no mistake leaves as they are.
pub(super) fn random(length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("making an image")?;
    Ok(bytes)
}

async fn sizes(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let script = indoc! {"
        import os
        from pathlib import Path
        from jumpstarter.utils.env import env
        with env() as client:
            for length in 0, 1, 65_536, 10 << 20:
                image = os.urandom(length)
                Path('image').write_bytes(image)
                client.flasher.flash('image')
                client.flasher.dump('dump')
                assert Path('dump').read_bytes() == image, length
    "};
    exporter.client().python(script).await?;
    Ok(())
}

async fn targets(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let (boot, root) = (random(1000)?, random(2000)?);
    bench.write("boot.img", &boot)?;
    bench.write("root.img", &root)?;
    exporter
        .client()
        .j(&["flasher", "flash", "-t", "boot:boot.img", "-t", "root:root.img"])
        .await?
        .ok()?;
    for (target, image) in [("boot", boot), ("root", root)] {
        exporter.client().j(&["flasher", "dump", "--target", target, "dump"]).await?.ok()?;
        ensure!(bench.read("dump")? == image, "{target} should come back as it was");
    }
    let missing = exporter.client().j(&["flasher", "dump", "--target", "nowhere", "dump"]).await?;
    ensure!(missing.code() != 0, "what was never flashed can't be dumped");
    Ok(())
}

async fn storage_mux(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let image = random(300_000)?;
    bench.write("image", &image)?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            client.mux.host()
            client.mux.write_local_file('image')
            client.mux.read_local_file('dump')
            client.mux.dut()
            client.mux.off()
    "};
    exporter.client().python(script).await?;
    ensure!(bench.read("dump")? == image, "the image should come back as it was");
    Ok(())
}

async fn storage_mux_of_a_board(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let image = random(300_000)?;
    bench.write("image", &image)?;
    for command in [&["host"][..], &["dut"], &["off"], &["flash", "image"], &["dump", "dump"]] {
        exporter.client().j(&[&["board"], command].concat()).await?.ok()?;
    }
    ensure!(bench.read("dump")? == image, "the image should come back as it was");
    Ok(())
}

/// A script that runs `body` for each encoding, with its `name`, its module as `encoding`, and the
/// `image`.
fn for_each_encoding(body: &str) -> String {
    let head = indoc! {"
        import bz2, gzip, lzma
        from pathlib import Path
        from backports import zstd
        from jumpstarter.utils.env import env

        image = Path('image').read_bytes()
    "};
    let tail = indoc! {"
        with env() as client:
            for name, encoding in dict(gzip=gzip, xz=lzma, bz2=bz2, zstd=zstd).items():
                check(client, name, encoding)
    "};
    format!("{head}\n{body}\n{tail}")
}

async fn compressed_sources(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    bench.write("image", random(1 << 20)?)?;
    let check = indoc! {"
        def check(client, name, encoding):
            Path('packed').write_bytes(encoding.compress(image))
            client.flasher.flash('packed', compression=name)
            client.flasher.dump('dump')
            assert Path('dump').read_bytes() == image, name
    "};
    exporter.client().python(&for_each_encoding(check)).await?;
    Ok(())
}

async fn compressed_sinks(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    bench.write("image", random(1 << 20)?)?;
    let check = if bench.differs(Known::SinksAreNotFlushed) {
        indoc! {"
            def check(client, name, encoding):
                client.flasher.flash('image')
                client.flasher.dump('dump', compression=name)
                try:
                    whole = encoding.decompress(Path('dump').read_bytes()) == image
                except (EOFError, ValueError, lzma.LZMAError, zstd.ZstdError):
                    whole = False
                assert not whole, name
        "}
    } else {
        indoc! {"
            def check(client, name, encoding):
                client.flasher.flash('image')
                client.flasher.dump('dump', compression=name)
                assert encoding.decompress(Path('dump').read_bytes()) == image, name
        "}
    };
    exporter.client().python(&for_each_encoding(check)).await?;
    Ok(())
}
