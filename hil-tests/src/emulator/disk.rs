//! Disks made of files: cards without a reader, and cards that are worn out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::program;
use crate::bench::POLL;
use crate::prepared::cache;
use crate::process::patiently;

/// The block that can't be written has so many sectors of 512 bytes.
const BLOCK: u64 = 8;

/// A loop device on a file. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Loop {
    device: String,
}

impl Loop {
    /// # Errors
    ///
    /// Only root may.
    pub(crate) fn new(file: &Path) -> Result<Self> {
        let device = program("losetup", &["--find", "--show", &file.display().to_string()], "")?;
        Ok(Self { device })
    }

    /// Its node.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It goes when whoever still has it open closes it.
        program("losetup", &["--detach", &self.device], "").ok();
    }
}

/// How a card is worn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worn {
    /// The block that begins at so many bytes can't be written.
    Write(u64),
    /// It can't be read.
    Read(u64),
    /// What is written is accepted, and not there afterwards.
    Forgets,
}

/// A view of a card through the device mapper, as worn as this. Exists until the kernel ends. Returns
/// its node.
pub(crate) fn map_worn(card: &Path, size: u64, worn: Worn) -> Result<PathBuf> {
    let card = program("losetup", &["--find", "--show", &card.display().to_string()], "")?;
    let end = size / 512;
    let table = match worn {
        Worn::Write(at) => {
            let (at, after) = (at / 512, at / 512 + BLOCK);
            let rest = end - after;
            format!(
                "0 {at} linear {card} 0\n{at} {BLOCK} error\n{after} {rest} linear {card} {after}\n"
            )
        }
        Worn::Read(_) => format!("0 {end} dust {card} 0 512\n"),
        Worn::Forgets => format!("0 {end} flakey {card} 0 0 3600 1 drop_writes\n"),
    };
    // Nobody answers for udev in here.
    let mapper = |arguments: &[&str], input: &str| {
        program("env", &[&["DM_DISABLE_UDEV=1", "dmsetup"], arguments].concat(), input)
    };
    mapper(&["create", "worn"], &table)?;
    if let Worn::Read(at) = worn {
        mapper(&["message", "worn", "0", "addbadblock", &(at / 512).to_string()], "")?;
        mapper(&["message", "worn", "0", "enable"], "")?;
    }
    Ok("/dev/mapper/worn".into())
}

/// The same by a file system in user space, for a kernel without a device mapper.
#[derive(Debug)]
pub(crate) struct FuseWithBadBlock {
    disk: Option<Loop>,
    storage: Child,
}

impl FuseWithBadBlock {
    /// `mount` is where the view appears as a file.
    ///
    /// # Errors
    ///
    /// It has no way to forget.
    pub(crate) async fn new(card: &Path, mount: &Path, size: u64, worn: Worn) -> Result<Self> {
        let (kind, at) = match worn {
            Worn::Write(at) => ("write", at),
            Worn::Read(at) => ("read", at),
            Worn::Forgets => bail!("no view of a file system forgets what is written"),
        };
        File::create(mount).context("making a place for the view")?;
        let error = format!(
            r#"{{"event": "none", "iotype": "{kind}", "errno": 5, "sector": {}, "once": false}}"#,
            at / 512
        );
        let storage = Command::new(storage_daemon()?)
            .arg("--blockdev")
            .arg(format!("driver=file,filename={},locking=off,node-name=card", card.display()))
            .arg("--blockdev")
            .arg(format!(
                r#"{{"driver": "blkdebug", "image": "card", "node-name": "bad", "inject-error": [{error}]}}"#
            ))
            .arg("--export")
            .arg(format!("fuse,id=view,node-name=bad,mountpoint={},writable=on", mount.display()))
            .env("LD_LIBRARY_PATH", cache()?.join("sim-1/usr/lib/x86_64-linux-gnu"))
            .stdin(Stdio::null())
            .spawn()
            .context("starting qemu-storage-daemon")?;
        let mut view = Self { disk: None, storage };
        let shown = async {
            while fs::metadata(mount).map(|view| view.len()).unwrap_or_default() != size {
                tokio::time::sleep(POLL / 4).await;
            }
        };
        patiently("qemu-storage-daemon to show the card", shown).await?;
        view.disk = Some(Loop::new(mount)?);
        Ok(view)
    }

    /// Its node.
    pub(crate) fn device(&self) -> Result<&str> {
        self.disk.as_ref().map(Loop::device).context("the view has a device")
    }
}

/// The system's, unless one was fetched.
fn storage_daemon() -> Result<PathBuf> {
    let fetched = cache()?.join("sim-1/usr/bin/qemu-storage-daemon");
    Ok(if fetched.exists() { fetched } else { "qemu-storage-daemon".into() })
}

impl Drop for FuseWithBadBlock {
    fn drop(&mut self) {
        // First what is on top of it. A failure has nobody to be told, and its file goes anyway.
        drop(self.disk.take());
        let id = nix::unistd::Pid::from_raw(self.storage.id().cast_signed());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).ok();
        self.storage.wait().ok();
    }
}
