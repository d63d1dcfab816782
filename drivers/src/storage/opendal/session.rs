//! What the clients of one lease do with a storage: the methods, with their arguments and results.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedMutexGuard, oneshot};
use uuid::Uuid;

use super::digest::Algorithm;
use super::files::{Files, OpenFile};
use super::listing::{self, Depth};
use super::path::StoragePath;
use super::root::{Root, failed};
use super::upload::Upload;
use crate::blocking;
use crate::driver::{Call, Items};
use crate::storage::cursor::FileCursor;
use crate::storage::{end, lock};
use crate::{DriverError, Result};

/// A storage in use.
#[derive(Debug)]
pub(super) struct Session {
    root: Arc<Root>,
    files: Files,
    /// The names of files and directories that were created.
    created: Mutex<BTreeSet<String>>,
}

/// How a file is opened.
#[derive(Debug, Deserialize)]
enum Mode {
    #[serde(rename = "rb")]
    Read,
    #[serde(rename = "wb")]
    Write,
}

impl Session {
    /// A session in which nothing has happened yet.
    pub(super) fn new(root: Arc<Root>) -> Self {
        Self { root, files: Files::default(), created: Mutex::default() }
    }

    /// Closes all files and, if that is wanted, removes what was created. Blocks.
    pub(super) fn close(&self, remove_created: bool) {
        self.files.clear();
        let created = std::mem::take(&mut *lock(&self.created));
        if !remove_created {
            return;
        }
        // What is in a directory comes before the directory.
        for path in created.iter().rev() {
            match StoragePath::parse(path).and_then(|path| self.root.remove_all(&path)) {
                Ok(()) => tracing::debug!("removed '{path}', which was created in this session"),
                Err(error) => tracing::error!(%error, "can't remove '{path}'"),
            }
        }
    }

    pub(super) async fn open(&self, call: &Call<'_>) -> Result<Value> {
        call.args.at_most(2)?;
        let path = path(call, 0, "path")?;
        let file = match call.args.required(1, "mode")? {
            Mode::Read => {
                let open = self.on_disk(|root| {
                    let file = root.read(&path)?;
                    Ok(OpenFile::Reading { path, cursor: FileCursor::new(file) })
                });
                open.await?
            }
            Mode::Write => {
                self.on_disk(move |root| Upload::begin(root, &path).map(OpenFile::Writing)).await?
            }
        };
        Ok(self.files.insert(file).to_string().into())
    }

    pub(super) async fn file_read(&self, call: &Call<'_>) -> Result<Value> {
        let mut file = self.file(call, 2).await?;
        let mut sink = call.sink(1).await?;
        file.read(&mut sink).await?;
        end(sink).await?;
        Ok(Value::Null)
    }

    pub(super) async fn file_write(&self, call: &Call<'_>) -> Result<Value> {
        let mut file = self.file(call, 2).await?;
        file.write(call.source(1).await?).await?;
        Ok(Value::Null)
    }

    pub(super) async fn file_seek(&self, call: &Call<'_>) -> Result<Value> {
        let mut file = self.file(call, 3).await?;
        let offset = call.args.required(1, "pos")?;
        let whence = call.args.optional(2, "whence")?.unwrap_or_default();
        file.seek(offset, whence).await.map(Value::from)
    }

    pub(super) async fn file_tell(&self, call: &Call<'_>) -> Result<Value> {
        self.file(call, 1).await?.tell().map(Value::from)
    }

    pub(super) async fn file_close(&self, call: &Call<'_>) -> Result<Value> {
        if let Some(path) = self.file(call, 1).await?.close().await? {
            self.track(&path);
        }
        Ok(Value::Null)
    }

    /// Answers a question about an open file.
    pub(super) async fn file_is(
        &self,
        call: &Call<'_>,
        question: impl FnOnce(&OpenFile) -> bool,
    ) -> Result<Value> {
        Ok(question(&*self.file(call, 1).await?).into())
    }

    /// The file that the first of at most `count` arguments names.
    async fn file(&self, call: &Call<'_>, count: usize) -> Result<OwnedMutexGuard<OpenFile>> {
        call.args.at_most(count)?;
        let fd: String = call.args.required(0, "fd")?;
        let fd = Uuid::parse_str(&fd)
            .map_err(|error| DriverError::InvalidArgument(format!("argument 'fd': {error}")))?;
        self.files.get(fd).await
    }

    pub(super) async fn stat(&self, call: &Call<'_>) -> Result<Value> {
        let path = only_path(call)?;
        let metadata = self.on_disk(move |root| root.stat(&path)).await?;
        Ok(json!({
            "content_disposition": null,
            "content_length": metadata.len(),
            "content_md5": null,
            "content_type": null,
            "etag": null,
            "mode": {"entry_is_file": metadata.is_file(), "entry_is_dir": metadata.is_dir()},
        }))
    }

    pub(super) async fn hash(&self, call: &Call<'_>) -> Result<Value> {
        call.args.at_most(2)?;
        let path = path(call, 0, "path")?;
        let algorithm: Algorithm = call.args.optional(1, "algo")?.unwrap_or_default();
        // Dropped with this future, for which the thread then stops.
        let (caller, _waiting) = oneshot::channel::<()>();
        let digest = self.on_disk(move |root| {
            let digest = algorithm.digest(root.read(&path)?, || !caller.is_closed());
            digest.map_err(|error| failed("read", &path, error))
        });
        Ok(digest.await?.into())
    }

    pub(super) async fn copy(&self, call: &Call<'_>) -> Result<Value> {
        let (source, target) = two_paths(call)?;
        let created = target.clone();
        self.on_disk(move |root| root.copy(&source, &target)).await?;
        self.track(&created);
        Ok(Value::Null)
    }

    pub(super) async fn rename(&self, call: &Call<'_>) -> Result<Value> {
        let (source, target) = two_paths(call)?;
        let (removed, created) = (source.clone(), target.clone());
        self.on_disk(move |root| root.rename(&source, &target)).await?;
        self.untrack(&removed);
        self.track(&created);
        Ok(Value::Null)
    }

    pub(super) async fn remove_all(&self, call: &Call<'_>) -> Result<Value> {
        let path = only_path(call)?;
        let removed = path.clone();
        self.on_disk(move |root| root.remove_all(&path)).await?;
        self.untrack(&removed);
        Ok(Value::Null)
    }

    pub(super) async fn create_dir(&self, call: &Call<'_>) -> Result<Value> {
        let path = only_path(call)?;
        let created = path.clone();
        self.on_disk(move |root| root.create_dir(&path)).await?;
        self.track(&created);
        Ok(Value::Null)
    }

    pub(super) async fn delete(&self, call: &Call<'_>) -> Result<Value> {
        let path = only_path(call)?;
        let removed = path.clone();
        self.on_disk(move |root| root.delete(&path)).await?;
        self.untrack(&removed);
        Ok(Value::Null)
    }

    pub(super) async fn exists(&self, call: &Call<'_>) -> Result<Value> {
        let path = only_path(call)?;
        self.on_disk(move |root| root.exists(&path)).await.map(Value::from)
    }

    pub(super) fn list(&self, call: &Call<'_>, depth: Depth) -> Result<Items> {
        Ok(listing::list(Arc::clone(&self.root), only_path(call)?, depth))
    }

    pub(super) fn created(&self, call: &Call<'_>) -> Result<Value> {
        call.args.none()?;
        Ok(json!(*lock(&self.created)))
    }

    /// Counts a path as created that somebody else has created.
    pub(super) fn register(&self, call: &Call<'_>) -> Result<Value> {
        call.args.at_most(1)?;
        let path: String = call.args.required(0, "path")?;
        self.track(&StoragePath::parse(&path.replace('\\', "/"))?);
        Ok(Value::Null)
    }

    fn track(&self, created: &StoragePath) {
        if !created.is_root() {
            lock(&self.created).insert(created.names().to_owned());
        }
    }

    fn untrack(&self, removed: &StoragePath) {
        lock(&self.created).remove(removed.names());
    }

    /// Does something that blocks.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = Arc::clone(&self.root);
        blocking::start("use the storage", move || work(&root)).done().await
    }
}

fn path(call: &Call<'_>, index: usize, name: &str) -> Result<StoragePath> {
    StoragePath::parse(&call.args.required::<String>(index, name)?)
}

fn only_path(call: &Call<'_>) -> Result<StoragePath> {
    call.args.at_most(1)?;
    path(call, 0, "path")
}

fn two_paths(call: &Call<'_>) -> Result<(StoragePath, StoragePath)> {
    call.args.at_most(2)?;
    Ok((path(call, 0, "source")?, path(call, 1, "target")?))
}
