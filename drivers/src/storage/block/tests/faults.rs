//! Devices that fail: a block device daemon of QEMU's shows one as a file, with faults in it.

use std::io::Cursor;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::BufReader;
use tokio_util::task::TaskTracker;

use super::super::super::chunk::{CHUNK, Chunk};
use super::super::device::{Device, Expected};
use super::super::guard::Kernel;
use super::super::mux::Node;
use super::super::plan::Plan;
use super::super::verify::verify;
use super::super::writers::{Piece, Writers};
use super::*;
use crate::testing::image;

/// A card that is a file of its own, and fails as it is told.
struct Faulty {
    path: PathBuf,
    daemon: Child,
    _folder: TempDir,
}

/// One of Linux's error numbers.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Faulty {
    /// A card of 16 MiB on which `operation` fails with `errno`: everywhere, or only at one byte.
    /// None, with the reason, where there is no such daemon or FUSE.
    async fn start(operation: &str, at: Option<usize>, errno: i32) -> Option<Self> {
        let (folder, image) = card(16 * CHUNK);
        let path = folder.path().join("faulty");
        fs::write(&path, "").unwrap();
        let mut fault =
            json!({"event": "none", "iotype": operation, "errno": errno, "once": false});
        if let Some(at) = at {
            fault["sector"] = json!(at / 512);
        }
        let faults = json!({
            "driver": "blkdebug", "image": "card", "node-name": "faulty", "inject-error": [fault],
        });
        let spawned = Command::new("qemu-storage-daemon")
            .arg("--blockdev")
            .arg(format!("driver=file,node-name=card,filename={}", image.display()))
            .args(["--blockdev", &faults.to_string()])
            .arg("--export")
            .arg(format!("fuse,id=it,node-name=faulty,writable=on,mountpoint={}", path.display()))
            .stderr(Stdio::null())
            .spawn();
        let daemon = match spawned {
            Ok(daemon) => daemon,
            Err(error) => {
                eprintln!("skipped: qemu-storage-daemon: {error}");
                return None;
            }
        };
        let mut faulty = Self { path, daemon, _folder: folder };
        while fs::metadata(&faulty.path).unwrap().len() == 0 {
            if let Some(status) = faulty.daemon.try_wait().unwrap() {
                eprintln!("skipped: qemu-storage-daemon can't show a file: {status}");
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(faulty)
    }

    /// Pulls the card.
    fn vanish(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.vanish();
        Command::new("umount").arg("--lazy").arg(&self.path).stderr(Stdio::null()).status().ok();
    }
}

#[tokio::test]
async fn an_error_while_writing_is_reported_with_its_place() {
    for (errno, text) in [(EIO, "Input/output error"), (ENOSPC, "No space left on device")] {
        let Some(card) = Faulty::start("write", Some(9 * CHUNK + 512), errno).await else { return };
        let mux = Switch::default();
        let error =
            write(&storage(&card.path, &mux, json!({})), image(12 * CHUNK)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("write at byte 9437184 of {}: {text} (os error {errno})", card.path.display())
        );
        assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
    }
}

#[tokio::test]
async fn an_error_while_reading_back_is_reported() {
    let Some(card) = Faulty::start("read", Some(3 * CHUNK), EIO).await else { return };
    let error = write(&storage(&card.path, &Switch::default(), json!({})), image(4 * CHUNK)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "read back at byte 3145728 of {}: Input/output error (os error 5)",
            card.path.display()
        )
    );
    let unchecked = storage(&card.path, &Switch::default(), json!({"verify": false}));
    write(&unchecked, image(4 * CHUNK)).await.unwrap();
}

#[tokio::test]
async fn a_sync_that_fails_is_not_tried_again() {
    let Some(card) = Faulty::start("flush", None, EIO).await else { return };
    let error = write(&storage(&card.path, &Switch::default(), json!({})), image(4 * CHUNK)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("store all of {}: Input/output error (os error 5)", card.path.display())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_is_pulled_is_an_error_and_the_mux_goes_back() {
    let Some(mut card) = Faulty::start("discard", None, EIO).await else { return };
    let (mux, lent) = (Switch::default(), Lent::default());
    let storage = storage(&card.path, &mux, json!({}));
    let (mut client, source) = tokio::io::duplex(CHUNK);
    let handle = lent.source(Box::pin(BufReader::new(source)));
    let pulled = async {
        // By then the first of it was written, as only so many chunks are on their way.
        tokio::io::copy(&mut Cursor::new(image(10 * CHUNK)), &mut client).await.unwrap();
        card.vanish();
        // An error means that the driver has let go of the image.
        tokio::io::copy(&mut Cursor::new(image(5 * CHUNK)), &mut client).await.ok();
        drop(client);
    };
    let (error, ()) = tokio::join!(lent.call(&storage, "write", json!([handle])), pulled);
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with("write at byte "), "{error}");
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}

/// A card with this on it, and what should be on it.
async fn written(path: &Path, image: &[u8]) -> (Arc<Device>, Vec<super::super::writers::Written>) {
    let expected = Expected { size: None, serial: None, kernel: Kernel::default() };
    let found = expected.find(&Node { path: path.to_owned(), below: None }).unwrap();
    let device = Arc::new(expected.open(&found, TaskTracker::new().token()).unwrap());
    let mut writers = Writers::start(&device, true);
    for (index, data) in image.chunks(CHUNK).enumerate() {
        let mut chunk: Chunk = writers.chunk().await.unwrap();
        chunk.fill(&mut &*data).unwrap();
        let offset = (index * CHUNK) as u64;
        let extents = Plan::default().extents(offset, data);
        writers.write(Piece { chunk, offset, extents }).await;
    }
    let written = writers.finish().await.unwrap();
    device.sync().unwrap();
    (device, written)
}

#[tokio::test]
async fn what_changes_behind_our_back_is_found() {
    let image = image(5 * CHUNK + 10);
    for place in [0, 2 * CHUNK + 17, image.len() - 1] {
        let (_folder, path) = card(8 * CHUNK);
        let (device, written) = written(&path, &image).await;
        verify(&device, written.clone()).await.unwrap();
        let mut spoilt = image.clone();
        spoilt[place] ^= 1;
        fs::write(&path, &spoilt).unwrap();
        let error = verify(&device, written).await.unwrap_err().to_string();
        let start = place / CHUNK * CHUNK;
        let end = image.len().min(start + CHUNK);
        let expected =
            format!("is not as it was written: bytes {start} to {end} read back differently");
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_card_that_has_become_smaller_is_found() {
    let image = image(3 * CHUNK);
    let (_folder, path) = card(3 * CHUNK);
    let (device, written) = written(&path, &image).await;
    fs::File::options().write(true).open(&path).unwrap().set_len(2 * CHUNK as u64 + 5).unwrap();
    let error = verify(&device, written).await.unwrap_err().to_string();
    assert!(error.contains("bytes 2097152 to 3145728 read back differently"), "{error}");
}

#[tokio::test]
async fn a_card_that_fails_at_its_start_is_told_before_the_rest_is_written() {
    let Some(card) = Faulty::start("write", Some(0), EIO).await else { return };
    let mux = Switch::default();
    let error = write(&storage(&card.path, &mux, json!({})), image(12 * CHUNK)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("write at byte 0 of {}: Input/output error (os error 5)", card.path.display())
    );
    assert_eq!(mux.sides(), [Side::Host, Side::Dut]);
}
