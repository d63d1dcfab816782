//! The partitions of an emulated board: files, from flashing to the end of the lease.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::Mutex;

use super::config::Partition;
use super::format::{Format, HEADER};
use crate::storage::copy;
use crate::stream::{Sink, Source};
use crate::{DriverError, Result, blocking};

/// How long work with the file system may take that copies nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the partitions are.
#[derive(Debug)]
pub(super) struct Store {
    /// The configuration's files. Nobody writes to them.
    defaults: BTreeMap<Partition, PathBuf>,
    /// What belongs to the lease. None until there is something.
    folder: Mutex<Option<TempDir>>,
}

/// A disk that QEMU may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

impl Store {
    pub(super) fn new(defaults: BTreeMap<Partition, PathBuf>) -> Self {
        Self { defaults, folder: Mutex::default() }
    }

    /// Replaces a partition, once all of the image has come. QEMU goes on with the old one until the
    /// board is switched off.
    pub(super) async fn flash(&self, partition: Partition, source: Source) -> Result<()> {
        let folder = self.folder().await?;
        let name = format!("partition {partition}");
        let context = format!("flash {name}");
        let failed = move |error| DriverError::io(&*context, error);
        let (at, fail) = (folder.clone(), failed.clone());
        let create = move || NamedTempFile::new_in(at).map_err(fail);
        let file = blocking::run("create a file", LIMIT, create).await?;
        let source = copy::decompressed(source).await?;
        let (file, bytes) = copy::write(source, file, &name).await?;
        let path = folder.join(partition.name());
        let keep = move || file.persist(path).map(drop).map_err(|error| failed(error.error));
        blocking::run("rename a file", LIMIT, keep).await?;
        tracing::info!(bytes, "{name} flashed");
        Ok(())
    }

    /// Reads a partition as it is now: with what the board has written to it.
    pub(super) async fn dump(&self, partition: Partition, sink: &mut Sink) -> Result<()> {
        let path = self.file(partition).await?.ok_or_else(|| {
            DriverError::NotFound(format!("nothing was flashed to partition {partition}"))
        })?;
        let name = format!("partition {partition}");
        let open = move || open(&path);
        let file = blocking::run("open a partition", LIMIT, open).await?;
        let (_, bytes) = copy::read(file, sink, &name).await?;
        tracing::info!(bytes, "{name} read");
        Ok(())
    }

    /// The file of a partition that QEMU only reads.
    pub(super) async fn file(&self, partition: Partition) -> Result<Option<PathBuf>> {
        if let Some(flashed) = self.flashed(partition).await {
            return Ok(Some(flashed));
        }
        match self.defaults.get(&partition) {
            Some(path) if path.is_file() => Ok(Some(path.clone())),
            Some(path) => Err(DriverError::NotFound(format!(
                "default_partitions.{partition}: there is no file {}",
                path.display()
            ))),
            None => Ok(None),
        }
    }

    /// The disk, if there is one. A default is copied first, so that what the board writes is kept for
    /// the lease and no longer.
    pub(super) async fn disk(&self) -> Result<Option<Disk>> {
        let Some(found) = self.file(Partition::Root).await? else { return Ok(None) };
        let folder = self.folder().await?;
        let path = folder.join(Partition::Root.name());
        let prepare = move || {
            let failed = |error| DriverError::io(format!("copy {}", found.display()), error);
            if found != path {
                let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
                copy_with_holes(&found, file.as_file_mut()).map_err(failed)?;
                file.persist(&path).map_err(|error| failed(error.error))?;
            }
            let mut header = Vec::new();
            let read = open(&path)?.take(HEADER as u64).read_to_end(&mut header);
            read.map_err(failed)?;
            Ok(Disk { format: Format::of(&header)?, path })
        };
        blocking::start("prepare the disk", prepare).done().await.map(Some)
    }

    /// Forgets everything that belongs to the lease.
    pub(super) async fn clear(&self) {
        blocking::discard(self.folder.lock().await.take());
    }

    async fn flashed(&self, partition: Partition) -> Option<PathBuf> {
        let folder = self.folder.lock().await;
        let path = folder.as_ref()?.path().join(partition.name());
        path.is_file().then_some(path)
    }

    async fn folder(&self) -> Result<PathBuf> {
        let mut folder = self.folder.lock().await;
        if let Some(folder) = &*folder {
            return Ok(folder.path().to_owned());
        }
        let create = || {
            tempfile::Builder::new()
                .prefix("hilt-qemu-")
                .tempdir()
                .map_err(|error| DriverError::io("create a folder for the board", error))
        };
        let created = blocking::run("create a folder for the board", LIMIT, create).await?;
        Ok(folder.insert(created).path().to_owned())
    }
}

impl Disk {
    /// Enlarges the disk to `size` bytes, or by as much as a card needs. Returns the size that QEMU has
    /// to bring it to, if its format does not let anybody else do it. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if it would have to shrink.
    pub(super) fn enlarge(&self, size: Option<u64>, is_card: bool) -> Result<Option<u64>> {
        let failed = |error| DriverError::io(format!("enlarge {}", self.path.display()), error);
        let current = match self.format {
            Format::Raw => fs::metadata(&self.path).map_err(failed)?.len(),
            Format::Qcow2 { size } => size,
        };
        if let Some(size) = size.filter(|size| *size < current) {
            return Err(DriverError::InvalidArgument(format!(
                "Shrinking disk is not supported: current {current} bytes, requested {size} bytes"
            )));
        }
        let size = size.unwrap_or(current);
        // Other sizes of cards QEMU does not take.
        let size = if is_card { size.next_power_of_two() } else { size };
        match self.format {
            _ if size == current => Ok(None),
            Format::Qcow2 { .. } => Ok(Some(size)),
            Format::Raw => {
                let file = File::options().write(true).open(&self.path).map_err(failed)?;
                file.set_len(size).map_err(failed)?;
                Ok(None)
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| DriverError::io(format!("open {}", path.display()), error))
}

/// Copies a file, and leaves holes where it has some.
fn copy_with_holes(from: &Path, target: &mut File) -> io::Result<()> {
    let mut source = File::open(from)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut position = 0;
    loop {
        let data = match lseek(&source, position, Whence::SeekData) {
            Ok(data) => data,
            // There is no more.
            Err(Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        position = lseek(&source, data, Whence::SeekHole)?;
        let start = SeekFrom::Start(data.cast_unsigned());
        source.seek(start)?;
        target.seek(start)?;
        io::copy(&mut (&mut source).take((position - data).cast_unsigned()), target)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::encoding::{Encoding, encode};
    use crate::testing::{cut_off, image, sink, whole};

    fn store(defaults: &[(Partition, &Path)]) -> Store {
        Store::new(defaults.iter().map(|(name, path)| (*name, path.to_path_buf())).collect())
    }

    async fn dumped(store: &Store, partition: Partition) -> Result<Vec<u8>> {
        let (mut sink, received) = sink();
        store.dump(partition, &mut sink).await?;
        sink.shutdown().await.unwrap();
        Ok(received.complete().unwrap())
    }

    #[tokio::test]
    async fn what_was_flashed_is_there_until_the_lease_ends() {
        let folder = tempfile::tempdir().unwrap();
        let default = folder.path().join("u-boot.bin");
        fs::write(&default, "default").unwrap();
        let store = store(&[(Partition::Bios, &default)]);
        assert_eq!(dumped(&store, Partition::Bios).await.unwrap(), b"default");
        assert!(matches!(dumped(&store, Partition::Root).await, Err(DriverError::NotFound(_))));

        let bytes = image(3_000_000);
        store.flash(Partition::Bios, whole(&bytes[..])).await.unwrap();
        assert!(dumped(&store, Partition::Bios).await.unwrap() == bytes);
        assert!(store.flash(Partition::Bios, cut_off(image(9))).await.is_err());
        assert!(dumped(&store, Partition::Bios).await.unwrap() == bytes, "the other is incomplete");

        let path = store.file(Partition::Bios).await.unwrap().unwrap();
        store.clear().await;
        assert_eq!(dumped(&store, Partition::Bios).await.unwrap(), b"default");
        assert_ne!(store.file(Partition::Bios).await.unwrap().unwrap(), path);
    }

    #[tokio::test]
    async fn a_compressed_image_is_told_by_its_first_bytes() {
        let (compressed, received) = sink();
        let mut compress = encode(Encoding::Xz, compressed);
        compress.write_all(&image(70_000)).await.unwrap();
        compress.shutdown().await.unwrap();
        let store = store(&[]);
        store.flash(Partition::Root, whole(received.complete().unwrap())).await.unwrap();
        assert!(dumped(&store, Partition::Root).await.unwrap() == image(70_000));
    }

    #[tokio::test]
    async fn a_default_disk_is_copied_with_its_holes_and_never_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let default = folder.path().join("card.img");
        let file = File::create(&default).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"boot", 8192).unwrap();
        file.write_all_at(b"end", (32 << 20) - 3).unwrap();
        let store = store(&[(Partition::Root, &default)]);
        let disk = store.disk().await.unwrap().unwrap();
        assert_ne!(disk.path, default);
        assert!(fs::read(&disk.path).unwrap() == fs::read(&default).unwrap());
        assert!(fs::metadata(&disk.path).unwrap().blocks() < 4096, "the holes are left out");

        let written = File::options().write(true).open(&disk.path).unwrap();
        written.write_all_at(b"by the board", 0).unwrap();
        assert_eq!(store.disk().await.unwrap().unwrap(), disk, "it is copied once");
        assert!(dumped(&store, Partition::Root).await.unwrap().starts_with(b"by the board"));
    }

    #[tokio::test]
    async fn a_default_that_is_missing_is_named() {
        let store = store(&[(Partition::Root, Path::new("/nonexistent/card.img"))]);
        let error = store.disk().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "default_partitions.root: there is no file /nonexistent/card.img"
        );
    }

    #[test]
    fn a_disk_only_grows() {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(3000).unwrap();
        let disk = Disk { path: file.path().to_owned(), format: Format::Raw };
        assert!(disk.enlarge(Some(2000), false).is_err());
        assert_eq!(disk.enlarge(None, false).unwrap(), None);
        assert_eq!(disk.enlarge(None, true).unwrap(), None);
        assert_eq!(file.as_file().metadata().unwrap().len(), 4096, "cards have powers of two");
        assert_eq!(disk.enlarge(Some(9000), false).unwrap(), None);
        assert_eq!(file.as_file().metadata().unwrap().len(), 9000);
        let disk = Disk { format: Format::Qcow2 { size: 100 }, ..disk };
        assert_eq!(disk.enlarge(Some(200), false).unwrap(), Some(200));
    }
}
