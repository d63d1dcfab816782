//! This end of a transfer: local files, stdin and stdout.
//!
//! Reading and writing block, so each has a thread of its own, and a few chunks of slack towards
//! the thread that speaks to the exporter: disk and wire work at the same time, in bounded memory.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};

use super::error::{Error, Result};
use super::output;
use crate::wire::transfer::CHUNK;

/// What is read from stdin at once. A pipe holds no more.
const STDIN_CHUNK: usize = 64 << 10;
/// How many chunks disk and wire may be apart.
const SLACK: usize = 4;

/// A local source, opened but not read.
#[derive(Debug)]
pub(crate) enum Input {
    File { path: PathBuf, file: File, length: u64 },
    Stdin,
}

/// The chunks of an [`Input`], in order. Ends after the last or after an error.
pub(crate) type Chunks = mpsc::Receiver<Result<Bytes>>;

impl Input {
    /// Opens a file for reading.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata.len()))
        };
        let (file, length) = open().map_err(|error| Error::file(path, error))?;
        Ok(Self::File { path: path.to_owned(), file, length })
    }

    /// The size in bytes, if there is one.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            // A pipe or a device says 0.
            Self::File { length, .. } => Some(*length).filter(|length| *length > 0),
            Self::Stdin => None,
        }
    }

    /// Starts reading.
    pub(crate) fn chunks(self) -> Chunks {
        match self {
            Self::File { path, file, .. } => chunks(move || {
                let mut chunk = Vec::with_capacity(CHUNK);
                let read = (&file).take(CHUNK as u64).read_to_end(&mut chunk);
                read.map(|_| chunk.into()).map_err(|error| Error::file(&path, error))
            }),
            Self::Stdin => stdin(STDIN_CHUNK),
        }
    }
}

/// Whatever comes in on stdin, at most `size` bytes at once and without waiting for more.
pub(crate) fn stdin(size: usize) -> Chunks {
    let mut buffer = vec![0; size];
    chunks(move || {
        let read = io::stdin().lock().read(&mut buffer);
        let read = read.map_err(|error| Error::local("reading stdin", error))?;
        Ok(Bytes::copy_from_slice(&buffer[..read]))
    })
}

/// Calls `read` on a thread of its own until it returns nothing or an error, or nobody wants the
/// chunks.
fn chunks(mut read: impl FnMut() -> Result<Bytes> + Send + 'static) -> Chunks {
    let (tx, rx) = mpsc::channel(SLACK);
    task::spawn_blocking(move || {
        loop {
            let chunk = read();
            if matches!(&chunk, Ok(chunk) if chunk.is_empty()) {
                break;
            }
            let failed = chunk.is_err();
            if tx.blocking_send(chunk).is_err() || failed {
                break;
            }
        }
    });
    rx
}

/// A local target, opened but not written.
///
/// A file appears under its name when all of it has arrived; before, it has a temporary name in the
/// same directory, which is gone if the `Output` is dropped.
#[derive(Debug)]
pub(crate) struct Output {
    chunks: mpsc::Sender<Bytes>,
    writer: JoinHandle<Result<()>>,
    replaces: Option<(TempPath, PathBuf)>,
}

impl Output {
    /// Creates a file, or opens the device or pipe that is there.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = |error| Error::file(path, error);
        // A link stays one.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let present = fs::metadata(&path).ok();
        if present.as_ref().is_some_and(|present| !present.is_file()) {
            let file = File::options().write(true).open(&path).map_err(failed)?;
            return Ok(Self::start(file, path, None));
        }
        // As for any new file, the umask takes its part.
        let mode = present.map_or(0o666, |present| present.permissions().mode());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let (file, temporary) = tempfile::Builder::new()
            .prefix(".j-")
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(directory)
            // Its own words name the temporary file.
            .map_err(|error| failed(error.kind().into()))?
            .into_parts();
        Ok(Self::start(file, path.clone(), Some((temporary, path))))
    }

    /// Writes to stdout.
    pub(crate) fn stdout() -> Self {
        let write = |chunk: &[u8]| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(chunk).and_then(|()| stdout.flush()).map_err(output::to_stdout)
        };
        Self::spawn(write, None)
    }

    fn start(file: File, path: PathBuf, replaces: Option<(TempPath, PathBuf)>) -> Self {
        let write =
            move |chunk: &[u8]| (&file).write_all(chunk).map_err(|error| Error::file(&path, error));
        Self::spawn(write, replaces)
    }

    fn spawn(
        mut write: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
        replaces: Option<(TempPath, PathBuf)>,
    ) -> Self {
        let (chunks, mut rx) = mpsc::channel::<Bytes>(SLACK);
        let writer = task::spawn_blocking(move || {
            while let Some(chunk) = rx.blocking_recv() {
                write(&chunk)?;
            }
            Ok(())
        });
        Self { chunks, writer, replaces }
    }

    /// Writes a chunk, sooner or later.
    ///
    /// # Errors
    ///
    /// Why an earlier chunk could not be written.
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.chunks.send(chunk).await.is_ok() {
            return Ok(());
        }
        joined((&mut self.writer).await)
    }

    /// Waits until all is written, and gives the file its name.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.chunks);
        joined(self.writer.await)?;
        if let Some((temporary, path)) = self.replaces {
            temporary.persist(&path).map_err(|error| Error::file(path, error.error))?;
        }
        Ok(())
    }
}

/// The outcome of the writing thread.
fn joined(outcome: Result<Result<()>, task::JoinError>) -> Result<()> {
    outcome.unwrap_or_else(|error| Err(Error::local("writing", io::Error::other(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(input: Input) -> Result<Vec<u8>> {
        let mut chunks = input.chunks();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            assert!(chunk.len() <= CHUNK);
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_file_comes_back_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let image: Vec<u8> = (0..2 * CHUNK + 17).map(|i| (i % 251).try_into().unwrap()).collect();
        fs::write(&path, &image).unwrap();
        let input = Input::open(&path).unwrap();
        assert_eq!(input.length(), Some(image.len() as u64));
        assert_eq!(read_all(input).await.unwrap(), image);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Input::open(Path::new("/nonexistent/image")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/image: "), "{error}");
        let error = Input::open(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
    }

    #[tokio::test]
    async fn a_file_appears_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        let mut output = Output::create(&path).unwrap();
        output.write(Bytes::from_static(b"half")).await.unwrap();
        assert!(!path.exists());
        output.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_cut_off_download_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump");
        fs::write(&path, "old").unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write(Bytes::from_static(b"half")).await.unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_an_error_of_the_file_asked_for() {
        let error = Output::create(Path::new("/nonexistent/dump")).unwrap_err().to_string();
        assert_eq!(error, "/nonexistent/dump: entity not found");
    }

    #[tokio::test]
    async fn a_device_is_written_to_and_not_replaced() {
        let mut output = Output::create(Path::new("/dev/null")).unwrap();
        output.write(Bytes::from_static(b"x")).await.unwrap();
        output.finish().await.unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error() {
        let mut output = Output::create(Path::new("/dev/full")).unwrap();
        let written = output.write(Bytes::from_static(b"x")).await;
        let outcome = match written {
            Ok(()) => output.finish().await,
            Err(error) => Err(error),
        };
        assert!(outcome.unwrap_err().to_string().starts_with("/dev/full: "));
    }
}
