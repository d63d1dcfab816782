//! Images on their way to a block device, past the page cache.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::j::{run, shell};
use super::transfers::{compressed, noise};
use super::{CHUNK, Measurement, Run};
use crate::bench::Bench;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::usage::peak_memory;
use crate::subject::Subject;

pub(super) const DEVICE: Measurement = Measurement {
    name: "device",
    how: "`j disk flash` of an image of 1 GiB (256 MiB with --quick), plain, and compressed with zstd to \
          about half, to hilt.storage.BlockDevice on a loop device with direct I/O, from its start to its \
          end, over a Unix socket as in a hook; plain bytes count. Bare is `dd \
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
    std::fs::write(&plain, noise(CHUNK)?.repeat(size / CHUNK))?;
    let small = compressed(&bench, size).await?;
    let (host, _shell) = shell(&bench, "disk.yaml", &drivers(&disk.path)).await?;
    let flash = |driver: &str, image: &Path| -> Result<f64> {
        let image = image.to_str().context("the bench has a plain name")?;
        block_in_place(|| run(&bench, &host, &[driver, "flash", image]))
    };
    for subject in rounds.turns() {
        match subject {
            Subject::Bare => {
                let begun = Instant::now();
                sh("dd if=\"$1\" of=\"$2\" bs=4M oflag=direct conv=fsync", &plain, &disk).await?;
                let written = begun.elapsed().as_secs_f64();
                raw.add(subject, megabytes / written);
                let begun = Instant::now();
                sh("dd if=\"$2\" of=/dev/null bs=4M iflag=direct", &plain, &disk).await?;
                verify.add(subject, begun.elapsed().as_secs_f64() / written);
                let begun = Instant::now();
                let dd =
                    "zstd -dc \"$1\" | dd of=\"$2\" bs=4M iflag=fullblock oflag=direct conv=fsync";
                sh(dd, &small, &disk).await?;
                zstd.add(subject, megabytes / begun.elapsed().as_secs_f64());
            }
            Subject::Hilt => {
                let written = flash("disk", &plain)?;
                raw.add(subject, megabytes / written);
                verify.add(subject, flash("checked", &plain)? / written - 1.0);
                zstd.add(subject, megabytes / flash("disk", &small)?);
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
async fn sh(line: &str, image: &Path, disk: &Loop) -> Result<()> {
    let mut sh = Command::new("sh");
    sh.args(["-c", line, "sh"]).arg(image).arg(&disk.path);
    sh.stdout(Stdio::null()).stderr(Stdio::null());
    succeed(&mut sh).await
}

async fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().await.with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
