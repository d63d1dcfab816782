//! Images on their way: to a mocked storage mux, which keeps them in a file, and back.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::process::Command;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::Instant;

use super::{CHUNK, Measurement, Run};
use crate::bench::Bench;
use crate::speed::client::{Client, finish, next, send};
use crate::speed::rounds::{Exporters, Rounds};
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::usage::{peak_memory, processor_time};
use crate::subject::Subject;

pub(super) const TRANSFER: Measurement = Measurement {
    name: "transfer",
    how: "256 MiB in chunks of 256 KiB to MockStorageMux, which keeps them in a temporary file, and \
          back; so does the bare server.",
    profile: Some(
        "a driver copies a download once more than the bare server, from its reader's chunk to the \
         frame, as compression may stand between the two; an upload, from the frames to a chunk that \
         is aligned for direct I/O.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(transfer(rounds)) },
};

pub(super) const FLASH: Measurement = Measurement {
    name: "flash",
    how: "an image of 256 MiB, compressed with zstd to about half, to MockStorageMux; plain bytes \
          count. Bare is `zstd -dc | dd` to a file. Neither bypasses the page cache nor syncs.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(flash(rounds)) },
};

static UPLOAD: Row = Row {
    title: "upload 256 MiB, no fsync (MockStorageMux)",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.8)],
};
static UPLOAD_PROCESSOR: Row =
    Row { title: "upload, processor time a MiB", unit: Unit::MS, targets: &[] };
static DOWNLOAD: Row = Row {
    title: "download 256 MiB (MockStorageMux)",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.8)],
};
static DOWNLOAD_PROCESSOR: Row =
    Row { title: "download, processor time a MiB", unit: Unit::MS, targets: &[] };
static FLASH_ZSTD: Row = Row {
    title: "flash 256 MiB, zstd, to a file",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.9)],
};
static FLASH_MEMORY: Row = Row {
    title: "flash, zstd: resident memory at most",
    unit: Unit::MB,
    targets: &[Target::Figure(64.0)],
};

const DEVICES: &str = "
export:
  mux: {type: jumpstarter_driver_opendal.driver.MockStorageMux}
";

/// The size of an image, in bytes.
const SIZE: usize = 256 << 20;
const MEBIBYTES: f64 = 256.0;

async fn transfer(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut upload_rate = Samples::of(&UPLOAD);
    let mut upload_processor = Samples::of(&UPLOAD_PROCESSOR);
    let mut download_rate = Samples::of(&DOWNLOAD);
    let mut download_processor = Samples::of(&DOWNLOAD_PROCESSOR);
    let image = vec![noise(CHUNK)?; SIZE / CHUNK];
    let benches = rounds.benches()?;
    let exporters = Exporters::start(&benches, |_| DEVICES.to_owned()).await?;
    for subject in rounds.turns() {
        let client = exporters.client(subject).await?;
        let uuid = client.uuid("mux").await?;
        let processes = benches[subject].processes();
        warm_page_cache()?;

        let (used, begun) = (processor_time(&processes)?, Instant::now());
        upload(&client, &uuid, image.clone(), None).await?;
        upload_rate.add(subject, rate(begun));
        upload_processor.add(subject, milliseconds_since(used, &processes)? / MEBIBYTES);

        let (used, begun) = (processor_time(&processes)?, Instant::now());
        let bytes = download(&client, &uuid).await?;
        ensure!(bytes == SIZE, "{bytes} bytes came back of {SIZE}");
        download_rate.add(subject, rate(begun));
        download_processor.add(subject, milliseconds_since(used, &processes)? / MEBIBYTES);
    }
    Ok(vec![upload_rate, upload_processor, download_rate, download_processor])
}

async fn flash(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut zstd = Samples::of(&FLASH_ZSTD);
    let mut memory = Samples::of(&FLASH_MEMORY);
    let benches = rounds.benches()?;
    let file = compressed(&benches[Subject::Bare], SIZE).await?;
    let image: Vec<_> = std::fs::read(&file)?.chunks(CHUNK).map(Bytes::copy_from_slice).collect();
    let exporters = Exporters::start(&benches, |_| DEVICES.to_owned()).await?;
    for subject in rounds.turns() {
        let bench = &benches[subject];
        warm_page_cache()?;
        let begun = Instant::now();
        match subject {
            Subject::Bare => zstd_and_dd(&file, &bench.path("image")).await?,
            Subject::Hilt | Subject::Python => {
                let client = exporters.client(subject).await?;
                let uuid = client.uuid("mux").await?;
                upload(&client, &uuid, image.clone(), Some("zstd")).await?;
            }
        }
        zstd.add(subject, rate(begun));
        if subject != Subject::Bare {
            let peaks = bench.processes().into_iter().map(peak_memory);
            memory.add(subject, peaks.sum::<Result<f64>>()? / 1e6);
        }
    }
    Ok(vec![zstd, memory])
}

/// The rate of a whole image since then, in 10⁶ bytes a second.
fn rate(begun: Instant) -> f64 {
    MEBIBYTES * 1.048_576 / begun.elapsed().as_secs_f64()
}

fn milliseconds_since(used: std::time::Duration, processes: &[nix::unistd::Pid]) -> Result<f64> {
    Ok((processor_time(processes)? - used).as_secs_f64() * 1e3)
}

/// Fills as much of the page cache as the old and the new image need, and frees it: the first touch of
/// a page that a virtual machine has given back to its host takes longer than all that is measured.
fn warm_page_cache() -> Result<()> {
    block_in_place(|| {
        let mut file = tempfile::tempfile().context("creating a temporary file")?;
        let chunk = vec![0; CHUNK];
        for _ in 0..2 * SIZE / CHUNK {
            file.write_all(&chunk).context("writing a temporary file")?;
        }
        Ok(())
    })
}

/// Bytes that nothing can compress.
pub(super) fn noise(count: usize) -> Result<Bytes> {
    let mut noise = vec![0; count];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut noise)?;
    Ok(noise.into())
}

async fn upload(
    client: &Client,
    uuid: &str,
    chunks: Vec<Bytes>,
    encoding: Option<&str>,
) -> Result<()> {
    let (stream, handle) = client.lend(uuid, encoding).await?;
    let mut sender = JoinSet::new();
    sender.spawn(async move {
        for chunk in chunks {
            send(&stream.frames, chunk).await?;
        }
        finish(stream.frames).await
    });
    client.call(uuid, "write", vec![handle]).await?;
    sender.join_next().await.context("the sender was just spawned")??
}

/// Returns how many bytes came.
async fn download(client: &Client, uuid: &str) -> Result<usize> {
    let (stream, handle) = client.lend(uuid, None).await?;
    let mut replies = stream.replies;
    finish(stream.frames).await?;
    let received = async {
        let mut bytes = 0;
        while let Some(chunk) = next(&mut replies).await? {
            bytes += chunk.len();
        }
        Ok(bytes)
    };
    let (bytes, ()) = tokio::try_join!(received, client.call(uuid, "read", vec![handle]))?;
    Ok(bytes)
}

/// An image of `size` bytes of which every other piece is noise, compressed.
pub(super) async fn compressed(bench: &Bench, size: usize) -> Result<PathBuf> {
    const PIECE: usize = 64 * 1024;
    let mut piece = noise(PIECE)?.to_vec();
    piece.resize(2 * PIECE, 0);
    let plain = bench.write("plain", [])?;
    let mut file = std::fs::File::create(&plain)?;
    for _ in 0..size / piece.len() {
        file.write_all(&noise(PIECE)?)?;
        file.write_all(&[0; PIECE])?;
    }
    let compressed = bench.path("image.zst");
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-3", "--rm"]).arg(&plain).arg("-o").arg(&compressed);
    let status = zstd.status().await.context("running zstd, which Debian has as a package")?;
    ensure!(status.success(), "zstd ended with {status}");
    Ok(compressed)
}

/// What people do without an exporter.
async fn zstd_and_dd(image: &Path, target: &Path) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "zstd -dc \"$1\" | dd of=\"$2\" bs=1M iflag=fullblock", "sh"]);
    shell.arg(image).arg(target).stdout(Stdio::null()).stderr(Stdio::null());
    let status = shell.status().await?;
    ensure!(status.success(), "`zstd -dc | dd` ended with {status}");
    Ok(())
}
