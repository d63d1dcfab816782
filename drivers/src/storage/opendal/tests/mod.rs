//! The driver as clients see it, over a real directory.

mod files;
mod outside;
mod tree;

use std::fs;
use std::path::Path;

use serde_json::{Map, json};
use tempfile::TempDir;

use super::*;
use crate::Args;
use crate::registry::{BuildError, find};
use crate::testing::Lent;

/// An open storage in a temporary directory.
struct Bench {
    directory: TempDir,
    driver: Arc<dyn Driver>,
    lent: Lent,
}

fn build(config: Value) -> Result<Arc<dyn Driver>, BuildError> {
    let entry = find("jumpstarter_driver_opendal.driver.Opendal").unwrap();
    entry.build(config).map(|built| built.driver)
}

impl Bench {
    async fn new() -> Self {
        Self::with(Map::new()).await
    }

    async fn with(mut config: Map<String, Value>) -> Self {
        let directory = TempDir::new().unwrap();
        config.insert("scheme".into(), json!("fs"));
        config.insert("kwargs".into(), json!({"root": directory.path().join("root")}));
        let driver = build(Value::Object(config)).unwrap();
        driver.open().await.unwrap();
        Self { directory, driver, lent: Lent::default() }
    }

    async fn call(&self, method: &str, args: Value) -> Result<Value, String> {
        self.lent.call(&*self.driver, method, args).await.map_err(|error| error.to_string())
    }

    async fn items(&self, method: &str, path: &str) -> Result<Value, String> {
        let items = self.lent.items(&*self.driver, method, json!([path])).await;
        items.map(Value::from).map_err(|error| error.to_string())
    }

    async fn open(&self, path: &str, mode: &str) -> Value {
        self.call("open", json!([path, mode])).await.unwrap()
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<Value, String> {
        let fd = self.call("open", json!([path, "wb"])).await?;
        self.call("file_write", json!([fd, self.lent.bytes(bytes)])).await?;
        self.call("file_close", json!([fd])).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let fd = self.call("open", json!([path, "rb"])).await?;
        let (handle, received) = self.lent.sink();
        self.call("file_read", json!([fd, handle])).await?;
        self.call("file_close", json!([fd])).await?;
        Ok(received.complete().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// The content of a file on the disk; none if it is not there.
    fn on_disk(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.root().join(path)).ok()
    }
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn file_systems_sign_nothing() {
    let bench = Bench::new().await;
    for method in ["presign_stat", "presign_read", "presign_write"] {
        let refused = bench.lent.call(&*bench.driver, method, json!(["file", 10])).await;
        assert!(matches!(refused, Err(DriverError::Unsupported(_))), "{refused:?}");
        let argument = bench.lent.call(&*bench.driver, method, json!(["file", "soon"])).await;
        assert!(matches!(argument, Err(DriverError::InvalidArgument(_))), "{argument:?}");
    }
    let capability = bench.call("capability", json!([])).await.unwrap();
    assert_eq!(capability.as_object().unwrap().len(), 33);
    assert_eq!(capability["presign_read"], json!(false));
}

#[tokio::test]
async fn arguments_are_counted() {
    let bench = Bench::new().await;
    for (method, most) in [
        ("open", 2),
        ("file_read", 2),
        ("file_write", 2),
        ("file_seek", 3),
        ("file_tell", 1),
        ("file_close", 1),
        ("file_closed", 1),
        ("stat", 1),
        ("hash", 2),
        ("copy", 2),
        ("rename", 2),
        ("remove_all", 1),
        ("create_dir", 1),
        ("delete", 1),
        ("exists", 1),
        ("presign_read", 2),
        ("capability", 0),
        ("get_created_resources", 0),
        ("register_path", 1),
    ] {
        let surplus = bench.call(method, json!(vec!["1"; most + 1])).await;
        let message = format!("takes at most {most} arguments, but {} were given", most + 1);
        assert_eq!(surplus, Err(message), "{method}");
        if most > 0 {
            let missing = bench.call(method, json!([])).await.unwrap_err();
            assert!(missing.starts_with("missing 1 required positional argument"), "{missing}");
        }
    }
}

#[tokio::test]
async fn every_method_is_known() {
    let bench = Bench::new().await;
    for method in METHODS {
        let answer = match method.shape {
            crate::Shape::Unary => {
                let args = Args::new(vec![Value::Null]);
                let call = Call { method: method.name, args, resources: &bench.lent };
                bench.driver.call(call).await.err()
            }
            crate::Shape::Items => {
                let args = Args::new(vec![Value::Null]);
                let call = Call { method: method.name, args, resources: &bench.lent };
                bench.driver.items(call).await.err()
            }
            crate::Shape::Bytes => panic!("there is none"),
        };
        assert!(!matches!(answer, Some(DriverError::NoSuchMethod(_))), "{}", method.name);
    }
}

#[test]
fn the_configuration_is_checked() {
    for (config, path, message) in [
        (
            json!({"scheme": "s3", "kwargs": {"root": "/srv"}}),
            "scheme",
            "storage of scheme 's3' is not supported, only 'fs'",
        ),
        (json!({"scheme": "fs", "kwargs": {}}), "kwargs", "missing field `root`"),
        (
            json!({"scheme": "fs", "kwargs": {"root": "/srv", "rot": "/"}}),
            "kwargs.rot",
            "unknown field `rot`, expected `root` or `atomic_write_dir`",
        ),
    ] {
        match build(config).unwrap_err() {
            BuildError::Config(error) => {
                assert_eq!(
                    (error.path.join(".").as_str(), error.message.as_str()),
                    (path, message)
                );
            }
            BuildError::Driver(error) => panic!("{error}"),
        }
    }
    let empty = build(json!({"scheme": "fs", "kwargs": {"root": ""}})).unwrap_err();
    assert_eq!(empty.to_string(), "kwargs.root is empty, but must name a directory");
    build(json!({"scheme": "fs", "kwargs": {"root": "/nowhere", "atomic_write_dir": "/tmp"}}))
        .unwrap();
}

#[tokio::test]
async fn a_root_that_is_no_directory_is_named() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("file");
    fs::write(&root, b"").unwrap();
    let driver = build(json!({"scheme": "fs", "kwargs": {"root": root}})).unwrap();
    let error = driver.open().await.unwrap_err().to_string();
    let start = format!("open the storage's root directory '{}': ", root.display());
    assert!(error.starts_with(&start), "{error}");
}
