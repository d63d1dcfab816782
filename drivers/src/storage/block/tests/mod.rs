//! The driver as a whole: images to files, to loop devices, and to devices that fail.

mod device;
mod faults;
mod images;
mod visits;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BlockStorage, Config, Mux, Side};
use crate::testing::Lent;
use crate::{Driver as _, DriverError, Result};

/// A mux that remembers where it was switched to.
#[derive(Debug, Clone, Default)]
struct Switch {
    sides: Arc<Mutex<Vec<Side>>>,
    /// Where it can't be switched to.
    broken: Option<Side>,
    /// Put in place of the device when that comes to the host, as a new device.
    brings: Option<(PathBuf, PathBuf)>,
}

impl Mux for Switch {
    async fn switch(&self, side: Side) -> Result<()> {
        self.sides.lock().unwrap().push(side);
        if self.broken == Some(side) {
            return Err(DriverError::Device("the relay is stuck".into()));
        }
        match (&self.brings, side) {
            (Some((from, to)), Side::Host) => fs::rename(from, to).unwrap(),
            (Some((from, to)), Side::Dut) => fs::rename(to, from).unwrap(),
            (None, _) | (Some(_), Side::Off) => {}
        }
        Ok(())
    }
}

impl Switch {
    fn sides(&self) -> Vec<Side> {
        self.sides.lock().unwrap().clone()
    }
}

/// What is on the card before.
const OLD: u8 = 0xaa;

/// A card of this many bytes, in a file.
fn card(size: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    fs::write(&path, vec![OLD; size]).unwrap();
    (folder, path)
}

/// A driver for the card.
fn storage(path: &Path, mux: &Switch, more: Value) -> BlockStorage<Switch> {
    let mut config = json!({"device": path, "timeout": 0});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    BlockStorage::new(mux.clone(), serde_json::from_value::<Config>(config).unwrap().into())
}

/// Writes an image.
async fn write(storage: &BlockStorage<Switch>, image: impl Into<Vec<u8>>) -> Result<()> {
    let lent = Lent::default();
    lent.call(storage, "write", json!([lent.bytes(image)])).await.map(drop)
}

/// Writes an image with its block map.
async fn write_mapped(storage: &BlockStorage<Switch>, image: &[u8], bmap: &str) -> Result<()> {
    let lent = Lent::default();
    let args = json!([lent.bytes(image), lent.bytes(bmap)]);
    lent.call(storage, "write", args).await.map(drop)
}

async fn read(storage: &BlockStorage<Switch>) -> Result<Vec<u8>> {
    let lent = Lent::default();
    let (handle, received) = lent.sink();
    lent.call(storage, "read", json!([handle])).await?;
    Ok(received.complete().unwrap())
}
