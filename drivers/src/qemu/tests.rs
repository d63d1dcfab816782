//! Real QEMU, and real firmware in it.
//!
//! QEMU (the package `qemu-system-arm`, 8.2 or later for the Banana Pi) is found on `PATH`. The firmware
//! is Debian's U-Boot: for QEMU's ARM machine where `HILT_TEST_VIRT` says, else where the package
//! `u-boot-qemu` puts it, and for a Banana Pi where `HILT_TEST_BANANA_PI` says, which names a
//! `u-boot-sunxi-with-spl.bin` of `u-boot-sunxi`. `hil-tests/run` fetches all of it. What needs something
//! that is missing is skipped, and says so; with `CI=true` it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::driver::Driver;
use crate::registry::{Built, find};
use crate::testing::Lent;
use crate::{ByteStream, DriverError};

use super::*;

/// The firmware of QEMU's ARM machine.
fn u_boot() -> PathBuf {
    let installed = || "/usr/lib/u-boot/qemu_arm/u-boot.bin".into();
    std::env::var_os("HILT_TEST_VIRT").map_or_else(installed, PathBuf::from)
}

/// How long a busy machine may take for anything.
const LIMIT: Duration = Duration::from_secs(90);

/// A board and its parts, as a client sees them.
struct Board {
    board: Built,
    lent: Lent,
}

impl Board {
    fn new(config: Value) -> Self {
        let entry = find("jumpstarter_driver_qemu.driver.Qemu").unwrap();
        Self { board: entry.build(config).unwrap(), lent: Lent::default() }
    }

    fn part(&self, name: &str) -> &dyn Driver {
        let (_, part) = self.board.children.iter().find(|(child, _)| child == name).unwrap();
        &*part.driver
    }

    async fn call(&self, part: &str, method: &str, args: Value) -> Result<Value> {
        self.lent.call(self.part(part), method, args).await
    }

    async fn power(&self, method: &str) -> Value {
        self.call("power", method, json!([])).await.unwrap()
    }

    async fn flash(&self, bytes: impl Into<Vec<u8>>, partition: &str) {
        let args = json!([self.lent.bytes(bytes), partition]);
        self.call("flasher", "flash", args).await.unwrap();
    }

    async fn console(&self) -> Console {
        Console {
            stream: self.part("console").connect("connect").await.unwrap(),
            heard: String::new(),
        }
    }
}

struct Console {
    stream: ByteStream,
    heard: String,
}

impl Console {
    /// Listens until the board has said this.
    async fn expect(&mut self, wanted: &str) {
        let listen = async {
            while !self.heard.contains(wanted) {
                let chunk = self.stream.reader.read().await.unwrap().unwrap();
                self.heard.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        let heard = timeout(LIMIT, listen).await;
        assert!(heard.is_ok(), "no '{wanted}' in: {}", self.heard);
        let end = self.heard.find(wanted).unwrap() + wanted.len();
        self.heard.drain(..end);
    }

    async fn type_in(&mut self, text: &str) {
        self.stream.writer.write(text.to_owned().into()).await.unwrap();
    }
}

/// Whether a test can be run. Says so if not.
fn there(programs: &[&str], files: &[&Path]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = |name: &str| std::env::split_paths(&path).any(|at| at.join(name).is_file());
    let programs = programs.iter().filter(|name| !on_path(name)).map(|name| (*name).to_owned());
    let files = files.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string());
    let missing: Vec<_> = programs.chain(files).collect();
    if missing.is_empty() {
        return true;
    }
    let why = format!("there is no {}; see the head of this file", missing.join(" and no "));
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("SKIP: {why}");
    false
}

fn virtual_board() -> Option<Board> {
    let config = json!({
        "arch": "arm", "mem": "256M", "smp": 1, "hostname": "dut",
        "default_partitions": {"bios": u_boot()},
    });
    there(&["qemu-system-arm"], &[&u_boot()]).then(|| Board::new(config))
}

/// The processes of QEMU that have this in their arguments.
fn processes(argument: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |id: &i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(argument)
    };
    ids.filter(has).map(Pid::from_raw).collect()
}

#[tokio::test]
async fn firmware_is_powered_and_talked_to() {
    let Some(board) = virtual_board() else { return };
    board.board.driver.open().await.unwrap();
    assert_eq!(board.power("status").await, "off");
    let mut console = board.console().await;
    board.power("on").await;
    board.power("on").await;
    assert_eq!(board.power("status").await, "on");
    console.expect("U-Boot").await;
    console.expect("autoboot").await;
    console.type_in("x").await;
    console.expect("=> ").await;
    console.type_in("echo $arch-$board_name\r").await;
    console.expect("arm-qemu-arm").await;

    board.power("off").await;
    assert_eq!(board.power("status").await, "off");
    board.power("on").await;
    console.expect("U-Boot").await;
    board.board.driver.close().await;
    assert_eq!(board.power("status").await, "off");
}

#[tokio::test]
async fn flashing_decides_what_boots_until_the_lease_ends() {
    let Some(board) = virtual_board() else { return };
    let mut firmware = fs::read(u_boot()).unwrap();
    // Another firmware, as long as the one that is known to work.
    let at = firmware.windows(8).position(|text| text == b"U-Boot 2").unwrap();
    firmware[at..at + 8].copy_from_slice(b"H-Boot 2");
    board.flash(firmware, "bios").await;
    let mut console = board.console().await;
    board.power("on").await;
    console.expect("H-Boot 2").await;
    board.board.driver.close().await;

    board.power("on").await;
    console.expect("U-Boot 2").await;
    board.board.driver.close().await;
}

#[tokio::test]
async fn a_disk_is_seen_by_the_board_and_written_by_it() {
    let Some(board) = virtual_board() else { return };
    board.flash("hilt".repeat(1024), "root").await;
    board.lent.call(&*board.board.driver, "set_disk_size", json!(["8M"])).await.unwrap();
    let mut console = board.console().await;
    board.power("on").await;
    console.expect("autoboot").await;
    console.type_in("x").await;
    console.expect("=> ").await;
    console.type_in("virtio dev 0; virtio info\r").await;
    console.expect("Capacity: 8.0 MB").await;
    console.expect("=> ").await;
    console.type_in("virtio read 40200000 0 1; virtio write 40200000 1000 1\r").await;
    console.expect("1 blocks written: OK").await;
    board.power("off").await;

    let (handle, received) = board.lent.sink();
    board.call("flasher", "dump", json!([handle])).await.unwrap();
    let disk = received.complete().unwrap();
    assert_eq!(disk.len(), 8 << 20);
    assert!(disk[0x1000 * 512..].starts_with(b"hilthilt"));
    board.board.driver.close().await;
}

#[tokio::test]
async fn a_board_that_ends_by_itself_is_off_and_leaves_nothing() {
    let Some(board) = virtual_board() else { return };
    board.power("on").await;
    let mut console = board.console().await;
    console.expect("autoboot").await;
    console.type_in("x").await;
    console.expect("=> ").await;
    console.type_in("poweroff\r").await;
    let off = async {
        while board.power("status").await != "off" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, off).await.expect("it is off");
    board.power("on").await;
    console.expect("autoboot").await;
    board.power("off").await;
}

#[tokio::test]
async fn a_qemu_that_hangs_is_killed_and_one_that_is_dropped_is_gone() {
    let Some(_) = virtual_board() else { return };
    let name = format!("hilt-test-{}", uuid::Uuid::new_v4());
    let board = Board::new(json!({
        "arch": "arm", "mem": "256M", "default_partitions": {"bios": u_boot()}, "args": ["-name", name],
    }));
    board.power("on").await;
    let [qemu] = processes(&name)[..] else { panic!("there is one") };
    kill(qemu, Signal::SIGSTOP).unwrap();
    let error = board.call("power", "status", json!([])).await.unwrap_err();
    assert!(matches!(error, DriverError::Timeout(_)), "{error}");
    board.power("off").await;
    assert_eq!(processes(&name), []);

    board.power("on").await;
    assert_eq!(processes(&name).len(), 1);
    drop(board);
    let gone = async {
        while !processes(&name).is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, gone).await.expect("it is gone");
}

#[tokio::test]
async fn a_refusal_of_qemu_is_in_its_own_words() {
    let Some(_) = virtual_board() else { return };
    let board = Board::new(json!({"arch": "arm", "machine": "nonexistent"}));
    let error = board.call("power", "on", json!([])).await.unwrap_err().to_string();
    assert!(error.starts_with("qemu-system-arm ended with 1: "), "{error}");
    assert!(board.part("vnc").connect("connect").await.is_err(), "and there is no screen");
}

#[tokio::test]
async fn the_screen_is_served_while_the_board_is_on() {
    let Some(board) = virtual_board() else { return };
    board.power("on").await;
    let mut screen = board.part("vnc").connect("connect").await.unwrap();
    let greeting = screen.reader.read().await.unwrap().unwrap();
    assert!(greeting.starts_with(b"RFB 003"), "{greeting:?}");
    board.power("off").await;
}

#[tokio::test]
async fn a_real_board_boots_from_its_card() {
    let named = std::env::var_os("HILT_TEST_BANANA_PI");
    let firmware = PathBuf::from(named.unwrap_or_else(|| "HILT_TEST_BANANA_PI".into()));
    if !there(&["qemu-system-arm"], &[&firmware]) {
        return;
    }
    let board = Board::new(json!({"arch": "arm", "machine": "bpim2u", "mem": "512M"}));
    let mut console = board.console().await;
    board.power("on").await;
    let silence = timeout(Duration::from_millis(500), console.stream.reader.read()).await;
    assert!(silence.is_err(), "without a card it says nothing");
    board.power("off").await;

    // The boot ROM reads from 8 KiB on.
    let mut card = vec![0; 8192];
    card.extend(fs::read(firmware).unwrap());
    board.flash(card, "root").await;
    board.power("on").await;
    console.expect("U-Boot SPL").await;
    console.expect("autoboot").await;
    board.board.driver.close().await;
}

#[tokio::test]
async fn what_is_not_installed_is_named() {
    let board = Board::new(json!({"arch": "pdp11", "hostname": "dut"}));
    let error = board.board.driver.open().await.unwrap_err();
    assert!(matches!(error, DriverError::NotFound(_)));
    assert_eq!(
        error.to_string(),
        "qemu-system-pdp11 is not installed: on Debian, 'apt-get install qemu-system-misc'"
    );
    let call = |method, args| board.lent.call(&*board.board.driver, method, args);
    assert_eq!(call("get_hostname", json!([])).await.unwrap(), "dut");
    assert_eq!(call("get_username", json!([])).await.unwrap(), "jumpstarter");
    assert_eq!(call("get_password", json!([])).await.unwrap(), "password");
    assert!(call("set_memory_size", json!(["much"])).await.is_err());
    let items = board.lent.items(board.part("flasher"), "flash_oci", json!(["oci://x"])).await;
    assert!(matches!(items, Err(DriverError::Unsupported(_))));
}
