//! The driver with muxes that exist only here: their chips keep registers, and their cards move.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Mutex;

use nix::errno::Errno;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scsi::{Command, Data, Ended};
use super::*;
use crate::Driver as _;
use crate::storage::reader::tests::add_slot;
use crate::testing::{Lent, image};
use crate::usb::testing::{plug_with, unplug};
use crate::usb::{Connection, Open, Plugged};

/// What the reader does with the next command, apart from what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    CheckCondition,
    Short,
    Silent,
    Unplugged,
    Denied,
    /// It answers with something else than it has.
    Garbage,
}

/// A mux, as its chip and its card see it.
#[derive(Debug)]
struct Shown {
    model: Model,
    output: u8,
    direction: u8,
    /// Since when the card has had no power.
    unpowered: Option<Instant>,
    /// What the card should not have seen.
    glitches: Vec<&'static str>,
    /// What goes wrong, and with which command.
    moods: BTreeMap<usize, Mood>,
    commands: usize,
    dev: PathBuf,
}

/// What the card sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels {
    data: bool,
    power: bool,
    dut: bool,
    removed: bool,
}

impl Shown {
    /// The chip of a mux that was just plugged in drives nothing, and the card is the DUT's.
    fn plugged(&mut self) {
        (self.output, self.direction) = (0xFF, 0xFF);
        self.unpowered = None;
        self.show();
    }

    fn levels(&self) -> Levels {
        let (data, power, dut, pulled) = match self.model {
            Model::Classic => (0, 1, 2, 0b1100),
            Model::Fast => (2, 1, 0, 0b1001),
        };
        let driven = self.output & !self.direction | pulled & self.direction;
        let bit = |line: u8| driven >> line & 1 == 1;
        Levels { data: !bit(data), power: !bit(power), dut: bit(dut), removed: bit(3) }
    }

    fn write(&mut self, register: u8, value: u8) {
        let before = self.levels();
        match register {
            1 => self.output = value,
            3 => self.direction = value,
            other => panic!("register {other} is none of the driver's business"),
        }
        let after = self.levels();
        if self.model == Model::Fast && register == 3 && before != after {
            self.glitches.push("the lines moved when the chip took over");
        }
        if before.dut != after.dut && (after.power || after.data) {
            self.glitches.push("the card moved with power on it");
        }
        if before.power && !after.power {
            self.unpowered = Some(Instant::now());
        }
        if !before.power && after.power {
            let unpowered = self.unpowered.take().map(|since| since.elapsed());
            if unpowered.is_none_or(|time| time < Duration::from_secs(1)) {
                self.glitches.push("the card got power before it had lost all");
            }
        }
        self.show();
    }

    /// Shows the card on the host, or an empty slot.
    fn show(&self) {
        let (slot, card) = (self.dev.join("sdb"), self.dev.join("card"));
        let is_there =
            self.levels() == Levels { data: true, power: true, dut: false, removed: false };
        if is_there && card.exists() {
            fs::rename(&card, &slot).unwrap();
        } else if !is_there && !card.exists() {
            fs::rename(&slot, &card).unwrap();
            fs::write(&slot, "").unwrap();
        }
    }
}

/// A host with one mux, in `1-1.2`.
#[derive(Debug)]
struct Lab {
    folder: TempDir,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Reader(Arc<Mutex<Shown>>);

impl Scsi for Reader {
    fn command(&self, device: &Path, command: &Command, data: Data<'_>) -> io::Result<Ended> {
        let mut shown = self.0.lock().unwrap();
        assert_eq!(device, shown.dev.join("sg3"));
        shown.commands += 1;
        let good = Ended { status: 0, host_status: 0, transferred: 512 };
        let number = shown.commands;
        let mood = shown.moods.remove(&number);
        match mood {
            Some(Mood::CheckCondition) => return Ok(Ended { status: 2, ..good }),
            Some(Mood::Short) => return Ok(Ended { transferred: 0, ..good }),
            Some(Mood::Silent) => return Ok(Ended { host_status: 3, transferred: 0, ..good }),
            Some(Mood::Unplugged) => return Err(Errno::ENODEV.into()),
            Some(Mood::Denied) => return Err(Errno::EACCES.into()),
            Some(Mood::Garbage) | None => {}
        }
        let address = shown.model.address();
        match data {
            Data::Out(bytes) => {
                assert_eq!(command[..7], [0xCF, 0x23, address << 1, 0, 0, 2, 0]);
                assert_eq!((bytes.len(), &command[7..]), (512, &[0; 9][..]));
                shown.write(bytes[0], bytes[1]);
            }
            Data::In(bytes) => {
                let expected = [0xCF, 0x22, address << 1, address << 1 | 1, 0, 1, 1];
                assert_eq!(command[..7], expected, "an unknown command may brick the reader");
                assert_eq!((bytes.len(), &command[8..]), (512, &[0; 8][..]));
                bytes[0] = match command[7] {
                    1 => shown.output,
                    3 => shown.direction,
                    other => panic!("register {other} is none of the driver's business"),
                };
                if mood == Some(Mood::Garbage) {
                    bytes[0] ^= 0xA5;
                }
            }
        }
        Ok(good)
    }
}

/// Nothing here opens a device on USB.
#[derive(Debug)]
struct Closed;

impl Open for Closed {
    fn open(&self, _: &Plugged, _: Claim) -> Result<Box<dyn Connection>> {
        panic!("the mux is used by its reader only")
    }
}

impl Lab {
    fn new(model: Model) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dev = folder.path().join("dev");
        fs::create_dir_all(&dev).unwrap();
        fs::create_dir_all(folder.path().join("scsi_generic")).unwrap();
        fs::write(dev.join("sdb"), vec![0xAA; 1 << 20]).unwrap();
        let shown = Arc::new(Mutex::new(Shown {
            model,
            output: 0,
            direction: 0,
            unpowered: None,
            glitches: Vec::new(),
            moods: BTreeMap::new(),
            commands: 0,
            dev,
        }));
        let lab = Self { folder, shown };
        lab.plug();
        lab
    }

    fn list(&self) -> PathBuf {
        self.folder.path().join("usb")
    }

    fn plug(&self) {
        let mut shown = self.shown.lock().unwrap();
        shown.plugged();
        let model = match shown.model {
            Model::Classic => "sdmux HS-SD/MMC",
            Model::Fast => "sdFST HS-SD/MMC",
        };
        self.plug_another("1-1.2", "000000001206", 9);
        add_slot(&self.list().join("1-1.2"), model, "sdb", Some("sg3"));
    }

    fn plug_another(&self, path: &str, serial: &str, address: u8) {
        let strings = [
            ("manufacturer", "Linux Automation GmbH"),
            ("product", "usb-sd-mux_rev1"),
            ("serial", serial),
        ];
        plug_with(&self.list(), path, (0x0424, 0x4041), address, &strings);
    }

    fn mux(&self, config: Value) -> UsbSdMux {
        let host = |wanted, patience| Host {
            wanted,
            bus: Arc::new(Bus::new(self.list(), Box::new(Closed))),
            scsi: Box::new(Reader(Arc::clone(&self.shown))),
            dev: self.folder.path().join("dev"),
            generic: self.folder.path().join("scsi_generic"),
            patience,
        };
        with(host, serde_json::from_value(config).unwrap())
    }

    async fn call(&self, mux: &UsbSdMux, method: &str) -> Result<()> {
        Lent::default().call(mux, method, json!([])).await.map(drop)
    }

    async fn write(&self, mux: &UsbSdMux, image: Vec<u8>) -> Result<()> {
        let lent = Lent::default();
        lent.call(mux, "write", json!([lent.bytes(image)])).await.map(drop)
    }

    fn levels(&self) -> Levels {
        self.shown.lock().unwrap().levels()
    }

    fn card(&self) -> Vec<u8> {
        let dev = self.folder.path().join("dev");
        fs::read(dev.join("card")).or_else(|_| fs::read(dev.join("sdb"))).unwrap()
    }

    /// Lets something go wrong with a command from here on; 1 is the next.
    fn spoil(&self, command: usize, mood: Mood) {
        let mut shown = self.shown.lock().unwrap();
        let number = shown.commands + command;
        shown.moods.insert(number, mood);
    }
}

const HOST: Levels = Levels { data: true, power: true, dut: false, removed: false };
const DUT: Levels = Levels { data: true, power: true, dut: true, removed: true };
const OFF: Levels = Levels { data: false, power: false, dut: false, removed: true };

#[tokio::test(start_paused = true)]
async fn the_card_moves_without_glitches() {
    for model in [Model::Classic, Model::Fast] {
        let lab = Lab::new(model);
        let mux = lab.mux(json!({"serial": "000000001206"}));
        assert_eq!(mux.client(), "jumpstarter_driver_opendal.client.StorageMuxFlasherClient");
        for (method, levels) in
            [("host", HOST), ("dut", DUT), ("host", HOST), ("off", OFF), ("dut", DUT), ("off", OFF)]
        {
            lab.call(&mux, method).await.unwrap();
            assert_eq!(lab.levels(), levels, "{model:?}: {method}");
        }
        assert_eq!(lab.shown.lock().unwrap().glitches, [""; 0], "{model:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_order_is_seen() {
    let lab = Lab::new(Model::Fast);
    let mut shown = lab.shown.lock().unwrap();
    // Off before the chip has taken over, and then power before the side.
    for (register, value) in [(1, 0x3E), (3, 0xC0), (1, 0x38), (1, 0x39)] {
        shown.write(register, value);
    }
    assert_eq!(
        shown.glitches,
        [
            "the lines moved when the chip took over",
            "the card got power before it had lost all",
            "the card moved with power on it",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_there_is_left_there() {
    let lab = Lab::new(Model::Fast);
    let mux = lab.mux(json!({}));
    lab.call(&mux, "dut").await.unwrap();
    let commands = lab.shown.lock().unwrap().commands;
    lab.call(&mux, "dut").await.unwrap();
    assert_eq!(lab.shown.lock().unwrap().commands, commands + 2, "it is only asked where it is");
}

#[tokio::test(start_paused = true)]
async fn lines_for_the_user_stay_as_they_are() {
    let lab = Lab::new(Model::Fast);
    let mux = lab.mux(json!({}));
    lab.call(&mux, "host").await.unwrap();
    assert_eq!(lab.shown.lock().unwrap().output & 0x30, 0x30, "active low: both are off at first");
    lab.shown.lock().unwrap().output &= !0x20;
    lab.call(&mux, "dut").await.unwrap();
    assert_eq!(lab.shown.lock().unwrap().output & 0x30, 0x10);
    assert_eq!(lab.shown.lock().unwrap().direction, 0xC0);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_written_to_the_card_and_the_dut_has_it() {
    for model in [Model::Classic, Model::Fast] {
        let lab = Lab::new(model);
        let mux = lab.mux(json!({"size": 1 << 20}));
        // As the reference's client flashes.
        lab.call(&mux, "host").await.unwrap();
        lab.write(&mux, image(300_000)).await.unwrap();
        lab.call(&mux, "dut").await.unwrap();
        assert_eq!(lab.levels(), DUT);
        let card = lab.card();
        assert!(card[..300_000] == image(300_000) && card[300_000..].iter().all(|b| *b == 0xAA));
        assert_eq!(lab.shown.lock().unwrap().glitches, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_of_another_size_is_left_alone() {
    let lab = Lab::new(Model::Classic);
    let mux = lab.mux(json!({"size": 4096}));
    let error = lab.write(&mux, image(10)).await.unwrap_err().to_string();
    assert!(error.ends_with("this is another one"), "{error}");
    assert!(lab.card().iter().all(|byte| *byte == 0xAA));
    assert_eq!(lab.levels(), DUT);
}

#[tokio::test(start_paused = true)]
async fn what_the_reader_says_is_sorted() {
    for (mood, expected) in [
        (Mood::CheckCondition, "the chip that switches does not answer it"),
        (Mood::Short, "0 bytes went over USB, and it takes 1"),
        (Mood::Silent, "it does not answer"),
        (Mood::Unplugged, "it was unplugged (No such device (os error 19))"),
        (Mood::Denied, "ATTRS{product}==\"usb-sd-mux*\", MODE=\"0660\", GROUP=\"plugdev\""),
    ] {
        let lab = Lab::new(Model::Fast);
        let mux = lab.mux(json!({"timeout": 0}));
        lab.spoil(1, mood);
        let error = lab.call(&mux, "host").await.unwrap_err().to_string();
        assert!(error.starts_with("read register 3 of the mux by "), "{error}");
        assert!(error.ends_with(expected), "{error}");
        lab.call(&mux, "host").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_chip_that_says_something_else_than_it_was_told_is_an_error() {
    let lab = Lab::new(Model::Classic);
    let mux = lab.mux(json!({}));
    lab.call(&mux, "dut").await.unwrap();
    // Where it is takes two commands; then it is read, told, and asked.
    lab.spoil(5, Mood::Garbage);
    let error = lab.call(&mux, "host").await.unwrap_err().to_string();
    assert!(error.starts_with("the mux was told 0x"), "{error}");
    assert!(error.ends_with("another program may be using it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_mux_that_is_plugged_in_again_is_found_again() {
    let lab = Lab::new(Model::Fast);
    let mux = lab.mux(json!({"serial": "000000001206", "timeout": 10}));
    lab.call(&mux, "host").await.unwrap();
    unplug(&lab.list(), "1-1.2");
    let again = async {
        sleep(Duration::from_secs(3)).await;
        lab.plug();
    };
    let (written, ()) = tokio::join!(lab.write(&mux, image(1000)), again);
    written.unwrap();
    assert!(lab.card().starts_with(&image(1000)));
    assert_eq!(lab.levels(), DUT);
    assert_eq!(lab.shown.lock().unwrap().glitches, [""; 0]);

    unplug(&lab.list(), "1-1.2");
    let error = lab.call(&mux, "host").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no USB-SD-Mux with the serial number 000000001206: no USB-SD-Mux at all"
    );
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let lab = Lab::new(Model::Classic);
    let mux = lab.mux(json!({"timeout": 0}));
    let device = lab.list().join("1-1.2");
    let slot = device.join("1-1.2:1.0/host5/target5:0:0/5:0:0:0");
    fs::remove_dir_all(slot.join("scsi_generic")).unwrap();
    let failed = async || lab.call(&mux, "host").await.unwrap_err().to_string();
    assert_eq!(failed().await, "the USB-SD-Mux has no device for commands yet");
    fs::remove_dir(lab.folder.path().join("scsi_generic")).unwrap();
    assert_eq!(
        failed().await,
        "the kernel's module sg, which takes commands to the mux, is not loaded: run `modprobe sg`, \
         and put `sg` into a file in /etc/modules-load.d"
    );
    fs::write(slot.join("model"), "Ultra HS-SD/MMC\n").unwrap();
    assert_eq!(
        failed().await,
        "the USB-SD-Mux says that it is 'Ultra HS-SD/MMC'; known are 'sdmux ...' and 'sdFST ...'"
    );
    lab.plug_another("1-1.3", "77", 10);
    let error = failed().await;
    assert!(error.starts_with("there are several: 0424:4041 at 1-1.2, "), "{error}");
}
