//! SDWire and SDWireC: a card reader with a switch between its card and a DUT's slot.
//!
//! The switch hangs on a pin of an FTDI FT200X beside the reader, both behind a hub of their own. The
//! pin is CBUS0, which the chip's EEPROM must have as a GPIO. Sources: Badger-Embedded's `sdwire-cli`,
//! and the requests of FTDI's chips as the kernel's `ftdi_sio` has them.
//!
//! The switch goes back to the host by itself if the DUT does not use the card within half a second:
//! switch it on right away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::block::{self, BlockStorage, Mux, Node, Settings, Setup, Side};
use super::reader;
use crate::number::seconds;
use crate::registry::Build;
use crate::usb::{Bus, Claim, Connection, Control, Device, Kind, Plugged, Wanted};
use crate::{DriverError, Result, blocking};

/// `jumpstarter_driver_sdwire.driver.SDWire`: the switch with the card in it.
pub type SdWire = BlockStorage<Switch>;

/// The switch, without the card.
#[derive(Debug)]
pub struct Switch {
    device: Device,
    /// Where the card is on the host, if the configuration says so.
    card: Option<PathBuf>,
    /// `/dev`
    dev: PathBuf,
}

/// The `config:` block of an SDWire.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial number; without it there must be only one.
    #[serde(default)]
    serial: Option<String>,
    /// The bus and the ports that lead to it, as in `1-1.4.2`. Not in the reference.
    #[serde(default)]
    path: Option<String>,
    /// Where the card is on the host; otherwise it is what is plugged in beside the switch.
    #[serde(default)]
    storage_device: Option<PathBuf>,
    /// How long the card may take to appear on the host, in seconds.
    #[serde(default = "block::default_timeout", deserialize_with = "seconds")]
    storage_timeout: Duration,
    /// How long the card is left alone when it is written, in seconds. The reference's default is 6.
    #[serde(default, deserialize_with = "seconds")]
    storage_leeway: Duration,
    /// How long the card may take to store what it has been sent, in seconds.
    #[serde(default = "block::default_sync_limit", deserialize_with = "seconds")]
    storage_fsync_timeout: Duration,
    /// The size of the card in bytes; any other is not the card. Neither this nor what follows is in
    /// the reference.
    size: Option<u64>,
    /// Whether what was written is read back.
    #[serde(default = "block::yes")]
    verify: bool,
    /// Whether zeros are passed over. Only for cards that are blank.
    #[serde(default)]
    skip_zeros: bool,
    /// Whether an image that begins like compressed data is decompressed.
    #[serde(default = "block::yes")]
    decompress: bool,
}

/// How it is known once its maker has programmed it. Samsung's numbers are also a phone's.
const PROGRAMMED: Kind = Kind { name: "SDWire", is_like: is_programmed, claim: Claim::Nothing };

/// How it is known if the configuration says which one it is: the chip as FTDI sells it will do.
const ANY: Kind = Kind {
    name: "SDWire",
    is_like: |device| is_programmed(device) || device.is_one_of(0x0403, &[0x6015]),
    claim: Claim::Nothing,
};

fn is_programmed(device: &Plugged) -> bool {
    device.is_one_of(0x04e8, &[0x6001]) && device.product_name == "sd-wire"
}

/// The vendor of the card reader, SMSC.
const READER_VENDOR: &str = "0424";

/// `SET_BITMODE`, and the mode in which the chip's pins are set one by one.
const SET_BITMODE: u8 = 0x0B;
const CBUS_BITBANG: u16 = 0x20;

/// All four pins are outputs.
const OUTPUTS: u16 = 0xF0;

/// `READ_PINS`.
const READ_PINS: u8 = 0x0C;

/// How long a transfer may take, and all that one switching does.
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

/// How long the reader may take to notice that the card has gone, and how often it is asked.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Build for SdWire {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(with(Bus::host(), "/dev".into(), config))
    }
}

/// The SDWire of a host.
fn with(bus: Arc<Bus>, dev: PathBuf, config: Config) -> SdWire {
    let is_named = config.serial.is_some() || config.path.is_some();
    let kind = if is_named { ANY } else { PROGRAMMED };
    let wanted = Wanted { kind, serial: config.serial, path: config.path };
    let device = Device::new(bus, wanted, config.storage_timeout).that_is_unmistakable();
    let settings = Settings {
        verify: config.verify,
        skip_zeros: config.skip_zeros,
        decompress: config.decompress,
        sync_limit: config.storage_fsync_timeout,
        leeway: config.storage_leeway,
    };
    let setup = Setup {
        device: config.storage_device.clone(),
        size: config.size,
        serial: None,
        patience: config.storage_timeout,
        settings,
    };
    BlockStorage::new(Switch { device, card: config.storage_device, dev }, setup)
}

impl Mux for Switch {
    async fn switch(&self, side: Side) -> Result<()> {
        // It has only two positions. The reference's `off` is the host's, too.
        let level = match side {
            Side::Host | Side::Off => 1,
            Side::Dut => 0,
        };
        let leaves = match side {
            Side::Host | Side::Off => None,
            Side::Dut => self.card_on_host().await,
        };
        self.device.run(LIMIT, move |chip| set(chip, level)).await?;
        if let Some(card) = leaves {
            self.has_left(&card).await?;
        }
        tracing::info!("{side}");
        Ok(())
    }

    async fn node(&self) -> Result<Node> {
        let device = self.device.find(LIMIT).await?;
        let dev = self.dev.clone();
        blocking::run("find the card of the SDWire", LIMIT, move || card(&device, &dev)).await
    }
}

impl Switch {
    /// Where the card is, if it is on the host now.
    async fn card_on_host(&self) -> Option<PathBuf> {
        let card = match &self.card {
            Some(card) => card.clone(),
            None => self.node().await.ok()?.path,
        };
        is_there(&card).await.then_some(card)
    }

    /// Makes sure that the card has gone: a chip whose pin is something else takes every command.
    async fn has_left(&self, card: &Path) -> Result<()> {
        let deadline = Instant::now() + LEAVE_LIMIT;
        while is_there(card).await {
            if Instant::now() >= deadline {
                return Err(DriverError::Device(format!(
                    "the SDWire was switched to the DUT, but the host still has the card in {}: \
                     CBUS0 not GPIO, which the EEPROM of its FT200X has to say (once, with FTDI's \
                     FT_PROG or `sd-mux-ctrl --init`), or the host is still busy with the card",
                    card.display()
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

async fn is_there(card: &Path) -> bool {
    let (what, card) = (format!("look into {}", card.display()), card.to_owned());
    let look = move || Ok(block::has_medium(&card));
    blocking::run(&what, LIMIT, look).await.unwrap_or(false)
}

/// Sets the pin, and makes sure that it is set. Blocks.
fn set(chip: &mut dyn Connection, level: u8) -> Result<()> {
    let value = CBUS_BITBANG << 8 | OUTPUTS | u16::from(level);
    let select = Control { kind: 0x40, request: SET_BITMODE, value, index: 0 };
    chip.control_out(select, &[], TRANSFER_LIMIT)?;
    let ask = Control { kind: 0xC0, request: READ_PINS, value: 0, index: 0 };
    let mut pins = [0];
    let length = chip.control_in(ask, &mut pins, TRANSFER_LIMIT)?;
    match pins {
        [pins] if length == 1 && pins & 1 == level => Ok(()),
        _ => Err(DriverError::Device(format!(
            "the SDWire was switched, but its pin is not set: it says {:02x?}",
            &pins[..length]
        ))),
    }
}

/// The card in the reader that is plugged in beside a switch. Blocks.
fn card(switch: &Path, dev: &Path) -> Result<Node> {
    let readers = reader::siblings(switch)?.into_iter().filter(|device| {
        let vendor = std::fs::read_to_string(device.join("idVendor"));
        vendor.is_ok_and(|vendor| vendor.trim() == READER_VENDOR)
    });
    let mut cards = readers.filter_map(|reader| {
        let path = reader::slots(&reader).first()?.disk(dev)?;
        Some(Node { path, below: Some(reader) })
    });
    cards.next().ok_or_else(|| {
        DriverError::NotFound(format!(
            "there is no card reader beside the SDWire at {} yet; `storage_device` can say where \
             the card is",
            switch.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::storage::reader::tests::add_slot;
    use crate::testing::{Lent, image};
    use crate::usb::testing::{Firmware, Host, Mood, unplug};

    /// An FT200X, and the card that its pin switches.
    #[derive(Debug)]
    struct Chip {
        is_gpio: bool,
        pins: u8,
        dev: PathBuf,
    }

    impl Firmware for Chip {
        fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error> {
            let Control { kind: 0x40, request: 0x0B, value, index: 0 } = request else {
                return Err(rusb::Error::Pipe);
            };
            assert_eq!((value >> 4, data), (0x20F, &[][..]));
            self.pins = u8::try_from(value & 0xF).unwrap();
            let (slot, card) = (self.dev.join("sdb"), self.dev.join("card"));
            match (self.is_gpio, self.pins & 1 == 1) {
                (true, true) if card.exists() => fs::rename(&card, &slot).unwrap(),
                (true, false) if !card.exists() => {
                    fs::rename(&slot, &card).unwrap();
                    fs::write(&slot, "").unwrap();
                }
                (true | false, _) => {}
            }
            Ok(())
        }

        fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error> {
            let asked = Control { kind: 0xC0, request: 0x0C, value: 0, index: 0 };
            if request == asked && length == 1 {
                Ok(vec![self.pins])
            } else {
                Err(rusb::Error::Pipe)
            }
        }
    }

    struct Lab {
        host: Host<Chip>,
        dev: TempDir,
    }

    const PRODUCT: (&str, &str) = ("product", "sd-wire");

    impl Lab {
        /// A host with an SDWire behind its hub, `1-4`, and the card on the host.
        fn new(is_gpio: bool) -> Self {
            let (host, dev) = (Host::new(), tempfile::tempdir().unwrap());
            fs::write(dev.path().join("sdb"), vec![0xAA; 1 << 20]).unwrap();
            let lab = Self { host, dev };
            lab.hub_with(&["1-4.1", "1-4.2"]);
            fs::write(lab.hub().join("1-4.1/idVendor"), "0424\n").unwrap();
            add_slot(&lab.hub().join("1-4.1"), "Ultra HS-SD/MMC", "sdb", None);
            let chip = Chip { is_gpio, pins: 1, dev: lab.dev.path().to_owned() };
            lab.host.plug("1-4.2", (0x04e8, 0x6001), &[PRODUCT, ("serial", "sdw-1")], chip);
            lab
        }

        /// Puts a hub into the kernel's list, with these sockets.
        fn hub_with(&self, sockets: &[&str]) {
            for path in sockets {
                let (hub, _) = path.split_once('.').unwrap();
                let directory = self.host.list().join(hub).join(path);
                fs::create_dir_all(&directory).unwrap();
                symlink(&directory, self.host.list().join(path)).unwrap();
            }
        }

        fn hub(&self) -> PathBuf {
            self.host.list().join("1-4")
        }

        fn sdwire(&self, config: Value) -> SdWire {
            let config = serde_json::from_value(config).unwrap();
            with(Arc::clone(&self.host.bus), self.dev.path().to_owned(), config)
        }

        fn pins(&self) -> u8 {
            self.host.at("1-4.2", |chip| chip.firmware.pins)
        }
    }

    async fn call(sdwire: &SdWire, method: &str) -> Result<()> {
        Lent::default().call(sdwire, method, json!([])).await.map(drop)
    }

    async fn write(sdwire: &SdWire, image: Vec<u8>) -> Result<()> {
        let lent = Lent::default();
        lent.call(sdwire, "write", json!([lent.bytes(image)])).await.map(drop)
    }

    #[tokio::test]
    async fn an_image_is_written_to_the_card_beside_the_switch() {
        let lab = Lab::new(true);
        let sdwire = lab.sdwire(json!({"size": 1 << 20, "storage_timeout": 0}));
        for (method, pins) in [("dut", 0), ("host", 1), ("dut", 0), ("off", 1)] {
            call(&sdwire, method).await.unwrap();
            assert_eq!(lab.pins(), pins, "{method}");
        }
        write(&sdwire, image(70_000)).await.unwrap();
        assert_eq!(lab.pins(), 0);
        assert!(fs::read(lab.dev.path().join("card")).unwrap().starts_with(&image(70_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_that_switches_nothing_is_noticed() {
        let lab = Lab::new(false);
        let sdwire = lab.sdwire(json!({}));
        call(&sdwire, "host").await.unwrap();
        let error = call(&sdwire, "dut").await.unwrap_err().to_string();
        assert!(error.contains("still has the card in"), "{error}");
        assert!(error.contains("CBUS0 not GPIO"), "{error}");
        // Without a card there is nothing that could stay.
        fs::write(lab.dev.path().join("sdb"), "").unwrap();
        call(&sdwire, "dut").await.unwrap();
    }

    #[tokio::test]
    async fn a_chip_as_it_is_sold_is_used_if_it_is_named() {
        let lab = Lab::new(true);
        let chip = || Chip { is_gpio: true, pins: 1, dev: lab.dev.path().to_owned() };
        lab.hub_with(&["1-6.1", "1-6.2"]);
        lab.host.plug("1-6.2", (0x0403, 0x6015), &[("serial", "FT1")], chip());
        let phone = [("product", "GT-I9100"), ("serial", "phone")];
        lab.host.plug("1-8", (0x04e8, 0x6001), &phone, chip());
        call(&lab.sdwire(json!({})), "dut").await.unwrap();
        assert_eq!(lab.pins(), 0, "the other two are no SDWires for all that is known");
        call(&lab.sdwire(json!({"serial": "FT1"})), "dut").await.unwrap();
        assert_eq!(lab.host.at("1-6.2", |chip| chip.firmware.pins), 0);
        // It has no reader beside it, and a disk that is none of its is left alone.
        let disk = lab.host.list().join("1-6/1-6.1");
        add_slot(&disk, "Disk", "sdb", None);
        fs::write(disk.join("idVendor"), "0951\n").unwrap();
        let sdwire = lab.sdwire(json!({"serial": "FT1", "storage_timeout": 0}));
        let error = write(&sdwire, image(9)).await.unwrap_err().to_string();
        assert!(error.starts_with("there is no card reader beside the SDWire at "), "{error}");
    }

    #[tokio::test]
    async fn one_of_two_is_not_chosen_by_chance() {
        let lab = Lab::new(true);
        let chip = Chip { is_gpio: true, pins: 1, dev: lab.dev.path().to_owned() };
        lab.host.plug("1-5", (0x04e8, 0x6001), &[PRODUCT, ("serial", "sdw-2")], chip);
        let error = call(&lab.sdwire(json!({})), "dut").await.unwrap_err().to_string();
        assert!(error.starts_with("there are several: "), "{error}");
        assert_eq!(lab.pins(), 1);
        call(&lab.sdwire(json!({"serial": "sdw-1"})), "dut").await.unwrap();
        assert_eq!(lab.pins(), 0);
    }

    #[tokio::test]
    async fn a_chip_that_fails_is_told() {
        let lab = Lab::new(true);
        let sdwire = lab.sdwire(json!({"storage_timeout": 0}));
        for (moods, expected) in [
            (vec![Some(Mood::Stall)], "it refuses the request"),
            (vec![Some(Mood::Silent)], "it does not answer"),
            (vec![None, Some(Mood::Short)], "its pin is not set: it says []"),
            (vec![Some(Mood::Gone)], "it was unplugged"),
        ] {
            lab.host.at("1-4.2", |chip| chip.moods.extend(moods));
            let error = call(&sdwire, "host").await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        unplug(&lab.hub(), "1-4.2");
        let error = call(&sdwire, "host").await.unwrap_err().to_string();
        assert_eq!(error, "there is no SDWire: no SDWire at all");
    }
}
