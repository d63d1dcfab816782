//! The device that an image goes to, once it was found to be the right one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Display, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use nix::sys::stat::{major, minor};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::super::chunk::ALIGNMENT;
use super::guard::{Kernel, Number, Usage};
use super::marker;
use super::mux::Node;
use crate::blocking::SlowDrop;
use crate::{DriverError, Result};

/// What a device must be to be used.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// Its size in bytes.
    pub(super) size: Option<u64>,
    /// Its serial number, or that of the reader that it is in.
    pub(super) serial: Option<String>,
    /// Who knows what the host uses it for.
    pub(super) kernel: Kernel,
}

/// Why a device was not opened.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is not there yet, or has no medium yet.
    NotYet(DriverError),
    /// Waiting doesn't help.
    For(DriverError),
}

/// A device that is open for writing, to nobody else.
#[derive(Debug)]
pub(super) struct Device {
    path: PathBuf,
    size: u64,
    /// What still waits to be stored is stored when they are closed.
    files: SlowDrop<Files>,
}

#[derive(Debug)]
struct Files {
    /// Goes past the page cache, if that is possible.
    direct: File,
    /// Goes through the page cache: for what is shorter than a sector.
    cached: File,
    /// Says when both are closed; it is the last to go.
    _open: TaskTrackerToken,
}

/// A device that is open for reading.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The file, which is locked: udev leaves a locked device alone, and so does another exporter.
    pub(super) file: File,
    /// In bytes; never 0.
    pub(super) size: u64,
    number: Option<Number>,
}

impl Expected {
    /// Opens what is there and makes sure that it is the right one. Blocks.
    pub(super) fn find(&self, node: &Node) -> Result<Found, Refused> {
        let path = node.path.display();
        let context = || format!("open {path}");
        // A device without a medium and a FIFO would keep us waiting.
        let flags = OFlag::O_NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(&node.path)
            .map_err(|error| passing(context(), error))?;
        let mut read = || -> io::Result<_> {
            let metadata = file.metadata()?;
            Ok((metadata, file.seek(SeekFrom::End(0))?))
        };
        let (metadata, size) = read().map_err(|error| passing(context(), error))?;
        let number = if metadata.file_type().is_block_device() {
            Some(Number(major(metadata.rdev()), minor(metadata.rdev())))
        } else if metadata.is_file() {
            None
        } else {
            return Err(Refused::For(DriverError::InvalidArgument(format!(
                "{path} is neither a block device nor a file"
            ))));
        };
        if let Some((number, below)) = number.zip(node.below.as_deref()) {
            let is_below = self.kernel.is_below(number, below);
            if !is_below.map_err(|error| passing(context(), error))? {
                let error = format!("{path} has just become another device");
                return Err(Refused::NotYet(DriverError::NotFound(error)));
            }
        }
        if size == 0 {
            let error = format!("{path}: no medium, or an empty one");
            return Err(Refused::NotYet(DriverError::NotFound(error)));
        }
        let found = Found { path: node.path.clone(), file, size, number };
        self.check_identity(&found).map_err(Refused::For)?;
        found.lock()?;
        Ok(found)
    }

    fn check_identity(&self, found: &Found) -> Result<()> {
        let path = found.path.display();
        if let Some(size) = self.size.filter(|size| *size != found.size) {
            return Err(DriverError::Device(format!(
                "{path} has {} bytes, and the configured device has {size}; this is another one",
                found.size
            )));
        }
        let Some(expected) = &self.serial else { return Ok(()) };
        let serial = match found.number {
            Some(number) => self
                .kernel
                .serial(number)
                .map_err(|error| DriverError::io(format!("look for {path} in /sys"), error))?,
            None => None,
        };
        match serial {
            Some(serial) if serial == *expected => Ok(()),
            Some(serial) => Err(DriverError::Device(format!(
                "{path} has the serial number {serial}, and the configured device has {expected}; \
                 this is another one"
            ))),
            None => Err(DriverError::Device(format!(
                "{path} has no serial number, and the configured device has {expected}; this is \
                 another one"
            ))),
        }
    }

    /// Opens what was found for writing, unless the host uses it. Blocks.
    pub(super) fn open(&self, found: &Found, open: TaskTrackerToken) -> Result<Device> {
        self.check_unused(found)?;
        if found.number.is_some_and(|number| self.kernel.is_read_only(number)) {
            return Err(DriverError::PermissionDenied(format!(
                "{} can only be read: the slider of an SD card says so, or one that is worn out does",
                found.path.display()
            )));
        }
        // Alone on a block device, where the kernel then refuses to mount it.
        let alone = if found.number.is_some() { OFlag::O_EXCL } else { OFlag::empty() };
        let failed = |error| DriverError::io(format!("open {}", found.path.display()), error);
        let cached = reopen(&found.file, alone).map_err(failed)?;
        // Only one of both can be alone; it is open for as long.
        let direct = match reopen(&found.file, OFlag::O_DIRECT) {
            Ok(direct) => direct,
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                let path = found.path.display();
                tracing::info!("{path} can't bypass the page cache; writing through it");
                cached.try_clone().map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let path = found.path.clone();
        let files = SlowDrop::new(Files { direct, cached, _open: open });
        Ok(Device { path, size: found.size, files })
    }

    /// Fails if the host uses what was found. Blocks.
    pub(super) fn check_unused(&self, found: &Found) -> Result<()> {
        let Some(number) = found.number else { return Ok(()) };
        let path = found.path.display();
        let usage = self.kernel.usage(number).map_err(|error| {
            DriverError::io(format!("find out what this host uses {path} for"), error)
        })?;
        let Some(usage) = usage else { return Ok(()) };
        let message = format!("{path} {usage}");
        Err(match usage {
            Usage::Root { .. } => DriverError::PermissionDenied(message),
            Usage::Mounted { .. } | Usage::Swap { .. } | Usage::Part { .. } => {
                DriverError::Busy(message)
            }
        })
    }
}

impl Found {
    /// Whether only a part of an image is on it. Blocks.
    pub(super) fn is_half_written(&self) -> bool {
        forget_cached(&self.file);
        marker::is_marked(&self.file)
    }

    /// udev locks a device while it looks at it, which it does just when a card has come.
    fn lock(&self) -> Result<(), Refused> {
        let path = self.path.display();
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Refused::NotYet(DriverError::Busy(format!(
                "{path} is locked by another program; it is released when that is done"
            )))),
            Err(TryLockError::Error(error)) => {
                Err(Refused::For(DriverError::io(format!("lock {path}"), error)))
            }
        }
    }
}

impl Device {
    /// In bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Where it is.
    pub(super) fn path(&self) -> Display<'_> {
        self.path.display()
    }

    /// The error for something that was done to it.
    pub(super) fn failed(&self, what: &str, error: io::Error) -> DriverError {
        let context = format!("{what} {}", self.path());
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODEV | Errno::ENXIO | Errno::ENOMEDIUM) => {
                DriverError::Disconnected(format!("{context}: {error}"))
            }
            Some(_) | None => DriverError::io(context, error),
        }
    }

    /// Writes `bytes`, whose memory is aligned, at an aligned offset. What is left of them at the
    /// end, less than a sector, goes through the page cache.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let whole = bytes.len() / ALIGNMENT * ALIGNMENT;
        let (sectors, rest) = bytes.split_at(whole);
        self.files.direct.write_all_at(sectors, offset)?;
        self.files.cached.write_all_at(rest, offset + whole as u64)
    }

    /// Makes sure that all of it is on the device. To be called once: the kernel reports an error to
    /// whoever asks first, and then forgets both the error and the data.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.files.cached.sync_all()?;
        forget_cached(&self.files.cached);
        Ok(())
    }

    /// Reads from the device itself into `memory`, which is aligned, as are its length and the
    /// offset. Returns how much there is.
    pub(super) fn read(&self, memory: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut length = 0;
        // What is not aligned any more after a short read is at the end.
        while length < memory.len() && length.is_multiple_of(ALIGNMENT) {
            match self.files.direct.read_at(&mut memory[length..], offset + length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// Whether there is a device with a medium in it. Blocks.
pub(in super::super) fn has_medium(path: &Path) -> bool {
    // Opening it makes the kernel ask the device.
    let open = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    open.and_then(|mut file| file.seek(SeekFrom::End(0))).is_ok_and(|size| size > 0)
}

/// Opens the same device once more, whatever its path leads to by now.
fn reopen(file: &File, flags: OFlag) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Lets the page cache forget what it has of a file. It keeps what it still has to write.
pub(super) fn forget_cached(file: &File) {
    if let Err(error) = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
        tracing::debug!(%error, "the page cache keeps what it has");
    }
}

/// Whether an error may pass by itself: a device that has just appeared is not there yet, belongs to
/// root until udev has given it to its group, or has still to read its medium.
fn passing(context: String, error: io::Error) -> Refused {
    let passes = error.raw_os_error().map(Errno::from_raw).is_some_and(|error| {
        matches!(
            error,
            Errno::ENOENT
                | Errno::ENXIO
                | Errno::ENODEV
                | Errno::ENOMEDIUM
                | Errno::EIO
                | Errno::EACCES
        )
    });
    let error = DriverError::io(context, error);
    if passes { Refused::NotYet(error) } else { Refused::For(error) }
}
