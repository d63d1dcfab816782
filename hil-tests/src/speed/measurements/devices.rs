//! Images on their way to a block device, past the page cache.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::process::Command;
use tokio::time::Instant;

use super::transfers::{compressed, noise, upload};
use super::{CHUNK, Measurement, Run};
use crate::bench::Bench;
use crate::speed::client::Client;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::usage::peak_memory;
use crate::subject::{Exporter, Subject};

pub(super) const DEVICE: Measurement = Measurement {
    name: "device",
    how: "an image of 1 GiB (256 MiB with --quick), plain, and compressed with zstd to about half, to \
          hilt.storage.BlockDevice on a loop device with direct I/O; plain bytes count. Bare is `dd \
          bs=4M oflag=direct conv=fsync`, behind `zstd -dc` for the compressed one. Reading back is \
          measured as what it adds; bare is `dd iflag=direct`, which reads and compares nothing. Needs \
          root, for the loop device.",
    profile: Some(
        "reading back has four reads under way, and their digests, on the processors that the client \
         needs as well; where the disk gives no more than it takes, the bare figure is the limit.",
    ),
    run: |rounds| -> Run<'_> { Box::pin(device(rounds)) },
};

static RAW: Row = Row {
    title: "flash an image to a loop device",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.9)],
};
static ZSTD: Row = Row {
    title: "flash an image to a loop device, zstd",
    unit: Unit::MB_PER_SECOND,
    targets: &[Target::OfBare(0.9)],
};
static VERIFY: Row = Row {
    title: "reading it back, as a part of the time to write it",
    unit: Unit::FEW,
    targets: &[Target::Figure(0.6)],
};
static MEMORY: Row = Row {
    title: "flash to a loop device: resident memory at most",
    unit: Unit::MB,
    targets: &[Target::Figure(64.0)],
};

/// A loop device on a file of the bench.
struct Loop {
    path: PathBuf,
}

impl Loop {
    /// The file has its place on the disk before anything is measured.
    async fn attach(bench: &Bench, size: usize) -> Result<Self> {
        let file = bench.path("disk");
        let mut fill = Command::new("dd");
        fill.arg("if=/dev/zero").arg(format!("of={}", file.display()));
        fill.args(["bs=1M", &format!("count={}", size >> 20), "conv=fsync", "status=none"]);
        succeed(&mut fill).await?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show", "--direct-io=on"]).arg(&file);
        let output = losetup.output().await.context("running losetup")?;
        ensure!(
            output.status.success(),
            "losetup, which needs root: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self { path: String::from_utf8(output.stdout)?.trim().into() })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Nothing can be done about a loop device that stays.
        std::process::Command::new("losetup").arg("--detach").arg(&self.path).status().ok();
    }
}

async fn device(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut raw = Samples::of(&RAW);
    let mut zstd = Samples::of(&ZSTD);
    let mut verify = Samples::of(&VERIFY);
    let mut memory = Samples::of(&MEMORY);
    let size = usize::try_from(rounds.image)? << 20;
    let megabytes = f64::from(rounds.image) * 1.048_576;
    let bench = rounds.bench(Subject::Hilt)?;
    let disk = Loop::attach(&bench, size).await?;
    let plain = bench.path("noise");
    let chunks = vec![noise(CHUNK)?; size / CHUNK];
    std::fs::write(&plain, chunks.concat())?;
    let small = compressed(&bench, size).await?;
    let small_chunks: Vec<_> =
        std::fs::read(&small)?.chunks(CHUNK).map(Bytes::copy_from_slice).collect();

    let exporter = Exporter::with(&bench, &drivers(&disk.path)).unheard().launch()?;
    let client = Client::patient(exporter.address()).await?;
    client.is_ready().await?;
    let (disk_uuid, checked_uuid) = (client.uuid("disk").await?, client.uuid("checked").await?);
    for subject in rounds.turns() {
        match subject {
            Subject::Bare => {
                let begun = Instant::now();
                shell("dd if=\"$1\" of=\"$2\" bs=4M oflag=direct conv=fsync", &plain, &disk)
                    .await?;
                let written = begun.elapsed().as_secs_f64();
                raw.add(subject, megabytes / written);
                let begun = Instant::now();
                shell("dd if=\"$2\" of=/dev/null bs=4M iflag=direct", &plain, &disk).await?;
                verify.add(subject, begun.elapsed().as_secs_f64() / written);
                let begun = Instant::now();
                let dd =
                    "zstd -dc \"$1\" | dd of=\"$2\" bs=4M iflag=fullblock oflag=direct conv=fsync";
                shell(dd, &small, &disk).await?;
                zstd.add(subject, megabytes / begun.elapsed().as_secs_f64());
            }
            Subject::Hilt => {
                let begun = Instant::now();
                upload(&client, &disk_uuid, chunks.clone(), None).await?;
                let written = begun.elapsed().as_secs_f64();
                raw.add(subject, megabytes / written);
                let begun = Instant::now();
                upload(&client, &checked_uuid, chunks.clone(), None).await?;
                verify.add(subject, begun.elapsed().as_secs_f64() / written - 1.0);
                let begun = Instant::now();
                upload(&client, &disk_uuid, small_chunks.clone(), Some("zstd")).await?;
                zstd.add(subject, megabytes / begun.elapsed().as_secs_f64());
                let peaks = bench.processes().into_iter().map(peak_memory);
                memory.add(subject, peaks.sum::<Result<f64>>()? / 1e6);
            }
            // The reference writes to devices behind muxes of its own only.
            Subject::Python => {}
        }
    }
    Ok(vec![raw, zstd, verify, memory])
}

/// The same device twice.
fn drivers(disk: &Path) -> String {
    let disk = disk.display();
    format!(
        "export:\n  \
         disk: {{type: hilt.storage.BlockDevice, config: {{device: {disk}, verify: false}}}}\n  \
         checked: {{type: hilt.storage.BlockDevice, config: {{device: {disk}}}}}\n"
    )
}

/// Runs a line of shell with an image and the device as `$1` and `$2`.
async fn shell(line: &str, image: &Path, disk: &Loop) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", line, "sh"]).arg(image).arg(&disk.path);
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    succeed(&mut shell).await
}

async fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().await.with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
