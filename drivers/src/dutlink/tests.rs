//! The drivers with a board that exists only here, and does what the firmware does.

use std::fs;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::Args;
use crate::driver::Call;
use crate::testing::{Lent, image};
use crate::usb::Control;
use crate::usb::testing::{Firmware, Host, Mood};

/// The firmware's state.
#[derive(Debug, Default)]
struct Firm {
    /// What it has taken and not yet done.
    taken: Option<(u8, u16)>,
    /// All that it has done for power.
    power: Vec<u16>,
    storage: u16,
    /// What it measures, and what of it can be read.
    measured: &'static str,
    shown: &'static str,
    /// The storage, on the host or in the board.
    paths: Option<(PathBuf, PathBuf)>,
}

/// The number of the board's interface for requests; those before it are the serial adapter's.
const INTERFACE: u16 = 2;

impl Firm {
    /// What the firmware does after each request that it has taken.
    fn work(&mut self) {
        match self.taken.take() {
            Some((1, action)) => self.power.push(action),
            Some((2, action)) => {
                self.storage = action;
                let (host, board) = self.paths.as_ref().unwrap();
                match action {
                    1 if board.exists() => fs::rename(board, host).unwrap(),
                    0 | 2 if host.exists() => fs::rename(host, board).unwrap(),
                    _ => {}
                }
            }
            Some((_, _)) => self.shown = self.measured,
            None => {}
        }
    }
}

impl Firmware for Firm {
    fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error> {
        self.work();
        assert!(data.is_empty(), "data is for its settings");
        match request {
            Control { kind: 0x41, request, value, index: INTERFACE }
                if request == 0 || request == 1 && value < 5 || request == 2 && value < 3 =>
            {
                self.taken = Some((request, value));
                Ok(())
            }
            _ => Err(rusb::Error::Pipe),
        }
    }

    fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error> {
        self.work();
        assert_eq!(length, 512);
        match request {
            Control { kind: 0xC1, request: 4, value: 1, index: INTERFACE } => {
                Ok(self.shown.as_bytes().to_vec())
            }
            _ => Err(rusb::Error::Pipe),
        }
    }
}

struct Lab {
    host: Host<Firm>,
    dev: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { host: Host::new(), dev: tempfile::tempdir().unwrap() };
        fs::write(lab.dev.path().join("stick"), vec![0xAA; 1 << 20]).unwrap();
        lab.plug("1-3", "dl-1");
        lab
    }

    fn plug(&self, path: &str, serial: &str) {
        let firmware = Firm {
            measured: "2.06W 5.02V 0.41A",
            paths: Some((self.dev.path().join("sdc"), self.dev.path().join("stick"))),
            ..Firm::default()
        };
        let strings = [("product", "Dutlink"), ("serial", serial)];
        self.host.plug(path, (0x2b23, 0x1012), &strings, firmware);
        for (number, class) in [("00", "02"), ("01", "0a"), ("02", "ff")] {
            let directory = self.interface(path, number);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("bInterfaceNumber"), format!("{number}\n")).unwrap();
            fs::write(directory.join("bInterfaceClass"), format!("{class}\n")).unwrap();
            fs::write(directory.join("bInterfaceSubClass"), "01\n").unwrap();
            fs::write(directory.join("bInterfaceProtocol"), "01\n").unwrap();
        }
        fs::create_dir_all(self.interface(path, "00").join("tty/ttyACM0")).unwrap();
    }

    fn interface(&self, path: &str, number: &str) -> PathBuf {
        self.host.list().join(path).join(format!("{path}:1.{}", &number[1..]))
    }

    fn build(&self, more: Value) -> Vec<(&'static str, Arc<dyn Driver>)> {
        let mut config =
            json!({"storage_device": self.dev.path().join("sdc"), "storage_timeout": 0});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = serde_json::from_value(config).unwrap();
        with(Arc::clone(&self.host.bus), self.dev.path().to_owned(), config).unwrap()
    }

    fn power(&self) -> Vec<u16> {
        self.host.at("1-3", |board| board.firmware.power.clone())
    }
}

async fn call(driver: &Arc<dyn Driver>, method: &str) -> Result<()> {
    Lent::default().call(&**driver, method, json!([])).await.map(drop)
}

#[tokio::test]
async fn a_board_is_three_devices_of_the_reference() {
    let clients: Vec<_> =
        Lab::new().build(json!({})).iter().map(|(name, driver)| (*name, driver.client())).collect();
    assert_eq!(
        clients,
        [
            ("power", "jumpstarter_driver_power.client.PowerClient"),
            ("storage", "jumpstarter_driver_opendal.client.StorageMuxFlasherClient"),
            ("console", "jumpstarter_driver_pyserial.client.PySerialClient"),
        ]
    );
}

#[tokio::test]
async fn power_is_switched_when_it_returns_and_a_sequence_runs_once() {
    let lab = Lab::new();
    let [(_, power), ..] = &*lab.build(json!({})) else { panic!("there are three") };
    for method in ["on", "on", "off", "rescue"] {
        call(power, method).await.unwrap();
    }
    assert_eq!(lab.power(), [1, 0, 4]);
    power.close().await;
    assert_eq!(lab.power(), [1, 0, 4], "the end of a lease switches nothing");

    // A command that fails may have been done or not: it is given again.
    lab.host.at("1-3", |board| board.moods.push_back(Some(Mood::Silent)));
    call(power, "on").await.unwrap_err();
    call(power, "on").await.unwrap();
    assert_eq!(lab.power(), [1, 0, 4, 1]);
    // What was plugged in again has forgotten what it was told.
    fs::write(lab.host.list().join("1-3/devnum"), "77\n").unwrap();
    call(power, "on").await.unwrap();
    assert_eq!(lab.power(), [1, 0, 4, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn measurements_are_up_to_date_and_come_when_they_change() {
    let lab = Lab::new();
    let [(_, power), ..] = &*lab.build(json!({})) else { panic!("there are three") };
    let lent = Lent::default();
    let read = Call { method: "read", args: Args::default(), resources: &lent };
    let mut readings = power.items(read).await.unwrap();
    let first = readings.next().await.unwrap().unwrap();
    assert_eq!(first, json!({"voltage": 5.02, "current": 0.41}));
    let changed = async {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        lab.host.at("1-3", |board| board.firmware.measured = "0.00W 0.00V 0.00A");
    };
    let begun = tokio::time::Instant::now();
    let (second, ()) = tokio::join!(readings.next(), changed);
    assert_eq!(second.unwrap().unwrap(), json!({"voltage": 0.0, "current": 0.0}));
    assert_eq!(begun.elapsed().as_secs(), 4);

    lab.host.at("1-3", |board| board.firmware.measured = "garbage");
    let error = readings.next().await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("the DUT Link says 'garbage'"), "{error}");
}

#[tokio::test]
async fn an_image_is_written_to_what_is_plugged_into_the_board() {
    let lab = Lab::new();
    let drivers = lab.build(json!({"size": 1 << 20}));
    let (_, storage) = &drivers[1];
    let lent = Lent::default();
    let args = json!([lent.bytes(image(80_000))]);
    lent.call(&**storage, "write", args).await.unwrap();
    assert_eq!(lab.host.at("1-3", |board| board.firmware.storage), 2);
    assert!(fs::read(lab.dev.path().join("stick")).unwrap().starts_with(&image(80_000)));
    assert_eq!(lab.power(), [0; 0]);

    lab.host.at("1-3", |board| board.moods.push_back(Some(Mood::Stall)));
    let error = call(storage, "host").await.unwrap_err().to_string();
    assert!(error.ends_with("it refuses the request"), "{error}");
}

#[tokio::test]
async fn the_console_is_the_terminal_of_the_same_board() {
    let lab = Lab::new();
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal =
        fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pty.slave)));
    std::os::unix::fs::symlink(terminal.unwrap(), lab.dev.path().join("ttyACM0")).unwrap();
    let drivers = lab.build(json!({"serial": "dl-1"}));
    let (_, console) = &drivers[2];
    console.open().await.unwrap();
    let mut stream = console.connect("connect").await.unwrap();
    stream.writer.write("hello\n".into()).await.unwrap();
    let mut heard = [0; 6];
    let reading = tokio::task::spawn_blocking(move || {
        nix::unistd::read(&pty.master, &mut heard).unwrap();
        heard
    });
    assert_eq!(&reading.await.unwrap(), b"hello\n");
    drop(stream);
    console.close().await;

    let tty = lab.interface("1-3", "00").join("tty");
    fs::create_dir(tty.join("ttyACM1")).unwrap();
    let error = console.open().await.unwrap_err().to_string();
    assert!(error.ends_with("has 2 consoles, and one is expected"), "{error}");
    fs::remove_dir_all(&tty).unwrap();
    let error = console.open().await.unwrap_err().to_string();
    assert!(error.contains("has no console"), "{error}");
}

#[tokio::test]
async fn a_board_that_is_not_ready_or_not_the_only_one_is_told() {
    let lab = Lab::new();
    let drivers = lab.build(json!({}));
    lab.plug("1-4", "dl-2");
    let error = call(&drivers[0].1, "on").await.unwrap_err().to_string();
    assert!(error.starts_with("there are several: 2b23:1012 at 1-3"), "{error}");
    let named = lab.build(json!({"serial": "dl-2"}));
    call(&named[0].1, "on").await.unwrap();
    assert_eq!(lab.host.at("1-4", |board| board.firmware.power.clone()), [1]);
    assert_eq!(lab.power(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_board_in_its_bootloader_is_told() {
    let lab = Lab::new();
    let drivers = lab.build(json!({}));
    fs::remove_dir_all(lab.interface("1-3", "02")).unwrap();
    let error = call(&drivers[0].1, "on").await.unwrap_err().to_string();
    assert!(error.ends_with("it may be in its bootloader"), "{error}");
}
