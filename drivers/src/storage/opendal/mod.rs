//! Files below a directory of the exporter's host: `jumpstarter_driver_opendal.driver.Opendal`.
//!
//! The reference puts the library OpenDAL's services behind this driver. Here it is the file system
//! alone (`scheme: fs`), and clients can't leave the root directory, neither with `..` nor through
//! links; see `root.rs`.
//!
//! # Writing
//!
//! A file that a client opens for writing is not touched until the client closes it; then its new
//! content takes its place in one step. Until then, readers see the old content, or no file. If a
//! write fails, or the lease ends before the file was closed, the file stays what it was.

mod digest;
mod files;
mod listing;
mod path;
mod root;
mod session;
#[cfg(test)]
mod tests;
mod upload;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use self::files::OpenFile;
use self::listing::Depth;
use self::root::Root;
use self::session::Session;
use super::lock;
use crate::blocking;
use crate::driver::{Call, Driver, Items, Method};
use crate::registry::Build;
use crate::{DriverError, Result};

/// A directory that clients may use as they like.
#[derive(Debug)]
pub struct Opendal {
    root: PathBuf,
    remove_created_on_close: bool,
    /// There while the driver is open.
    session: Mutex<Option<Arc<Session>>>,
}

/// The settings of an [`Opendal`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// OpenDAL's name for the kind of storage.
    #[serde(rename = "scheme")]
    _scheme: Scheme,
    kwargs: Kwargs,
    /// Whether everything that a client creates is removed when its lease ends.
    #[serde(default)]
    remove_created_on_close: bool,
}

/// OpenDAL's settings for the file system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kwargs {
    /// The directory; it is created if it is not there.
    root: PathBuf,
    /// Where OpenDAL keeps incomplete files. Here they are beside the complete ones.
    #[serde(default, rename = "atomic_write_dir")]
    _atomic_write_dir: Option<IgnoredAny>,
}

/// The only kind of storage there is.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Scheme;

impl TryFrom<String> for Scheme {
    type Error = String;

    fn try_from(scheme: String) -> Result<Self, String> {
        if scheme == "fs" {
            Ok(Self)
        } else {
            Err(format!("storage of scheme '{scheme}' is not supported, only 'fs'"))
        }
    }
}

impl Build for Opendal {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        if config.kwargs.root.as_os_str().is_empty() {
            return Err(DriverError::InvalidArgument(
                "kwargs.root is empty, but must name a directory".into(),
            ));
        }
        Ok(Self {
            root: config.kwargs.root,
            remove_created_on_close: config.remove_created_on_close,
            session: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Driver for Opendal {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_opendal.client.OpendalClient"
    }

    fn methods(&self) -> &'static [Method] {
        METHODS
    }

    async fn open(&self) -> Result<()> {
        let path = self.root.clone();
        let root =
            Arc::new(blocking::start("open the root", move || Root::open(&path)).done().await?);
        *lock(&self.session) = Some(Arc::new(Session::new(root)));
        Ok(())
    }

    async fn close(&self) {
        let Some(session) = lock(&self.session).take() else { return };
        let remove = self.remove_created_on_close;
        let closed = blocking::start("close the storage", move || {
            session.close(remove);
            Ok(())
        });
        if let Err(error) = closed.done().await {
            tracing::error!(%error, "can't close the storage");
        }
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        let session = self.session()?;
        match call.method {
            "open" => session.open(&call).await,
            "file_read" => session.file_read(&call).await,
            "file_write" => session.file_write(&call).await,
            "file_seek" => session.file_seek(&call).await,
            "file_tell" => session.file_tell(&call).await,
            "file_close" => session.file_close(&call).await,
            "file_closed" => session.file_is(&call, OpenFile::is_closed).await,
            "file_readable" | "file_seekable" => {
                session.file_is(&call, OpenFile::is_readable).await
            }
            "file_writable" => session.file_is(&call, OpenFile::is_writable).await,
            "stat" => session.stat(&call).await,
            "hash" => session.hash(&call).await,
            "copy" => session.copy(&call).await,
            "rename" => session.rename(&call).await,
            "remove_all" => session.remove_all(&call).await,
            "create_dir" => session.create_dir(&call).await,
            "delete" => session.delete(&call).await,
            "exists" => session.exists(&call).await,
            "presign_stat" | "presign_read" | "presign_write" => presign(&call),
            "capability" => capability(&call),
            "get_created_resources" => session.created(&call),
            "register_path" => session.register(&call),
            _ => Err(call.no_such_method()),
        }
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        let depth = match call.method {
            "list" => Depth::Entries,
            "scan" => Depth::Everything,
            _ => return Err(call.no_such_method()),
        };
        self.session()?.list(&call, depth)
    }
}

impl Opendal {
    fn session(&self) -> Result<Arc<Session>> {
        let closed = || DriverError::Disconnected("the storage is not open".into());
        lock(&self.session).clone().ok_or_else(closed)
    }
}

const METHODS: &[Method] = &[
    Method::unary("open"),
    Method::unary("file_read"),
    Method::unary("file_write"),
    Method::unary("file_seek"),
    Method::unary("file_tell"),
    Method::unary("file_close"),
    Method::unary("file_closed"),
    Method::unary("file_readable"),
    Method::unary("file_seekable"),
    Method::unary("file_writable"),
    Method::unary("stat"),
    Method::unary("hash"),
    Method::unary("copy"),
    Method::unary("rename"),
    Method::unary("remove_all"),
    Method::unary("create_dir"),
    Method::unary("delete"),
    Method::unary("exists"),
    Method::items("list"),
    Method::items("scan"),
    Method::unary("presign_stat"),
    Method::unary("presign_read"),
    Method::unary("presign_write"),
    Method::unary("capability"),
    Method::unary("get_created_resources"),
    Method::unary("register_path"),
];

/// File systems have nobody to sign anything.
fn presign(call: &Call<'_>) -> Result<Value> {
    call.args.at_most(2)?;
    call.args.required::<String>(0, "path")?;
    call.args.required::<u64>(1, "expire_second")?;
    Err(DriverError::Unsupported("storage of scheme 'fs' has no presigned requests".into()))
}

/// What OpenDAL says of the file system. All keys must be there.
fn capability(call: &Call<'_>) -> Result<Value> {
    call.args.none()?;
    Ok(json!({
        "stat": true,
        "stat_with_if_match": false,
        "stat_with_if_none_match": false,
        "read": true,
        "read_with_if_match": false,
        "read_with_if_none_match": false,
        "read_with_override_cache_control": false,
        "read_with_override_content_disposition": false,
        "read_with_override_content_type": false,
        "write": true,
        "write_can_multi": true,
        "write_can_empty": true,
        "write_can_append": true,
        "write_with_content_type": false,
        "write_with_content_disposition": false,
        "write_with_cache_control": false,
        "write_multi_max_size": null,
        "write_multi_min_size": null,
        "write_total_max_size": null,
        "create_dir": true,
        "delete": true,
        "copy": true,
        "rename": true,
        "list": true,
        "list_with_limit": false,
        "list_with_start_after": false,
        "list_with_recursive": false,
        "presign": false,
        "presign_read": false,
        "presign_stat": false,
        "presign_write": false,
        "shared": true,
        "blocking": true,
    }))
}
