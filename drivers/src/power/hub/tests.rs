//! The driver with hubs that exist only here.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::discover;
use crate::power::Power as _;
use crate::power::switch::Switched;
use crate::registry::{self, parse};
use crate::usb::Control;
use crate::usb::testing::{Firmware, Host, Mood, unplug};

/// A hub's program, and as much of the kernel as meddles with its ports.
#[derive(Debug)]
struct Hub {
    usb: u16,
    /// The lower bits of `wHubCharacteristics`.
    switching: u8,
    container: Option<u8>,
    ports: Vec<bool>,
    over_current: bool,
    /// How often it was told to switch a port.
    told: usize,
    /// How often the kernel will switch on again what was switched off.
    switched_on_again: usize,
    /// Where the kernel has its directories for ports, if it has `disable` in them.
    kernel: Option<PathBuf>,
}

const PER_PORT: u8 = 1;

impl Firmware for Hub {
    fn control_out(&mut self, request: Control, data: &[u8]) -> Result<(), rusb::Error> {
        assert!(data.is_empty());
        let Control { kind: 0x23, request, value: 8, index } = request else {
            return Err(rusb::Error::Pipe);
        };
        let port = self.ports.get_mut(usize::from(index) - 1).ok_or(rusb::Error::Pipe)?;
        *port = match request {
            3 => true,
            1 if self.switched_on_again > 0 => {
                self.switched_on_again -= 1;
                true
            }
            1 => false,
            _ => return Err(rusb::Error::Pipe),
        };
        self.told += 1;
        Ok(())
    }

    fn control_in(&mut self, request: Control, length: usize) -> Result<Vec<u8>, rusb::Error> {
        let is_usb_3 = self.usb >= 0x0300;
        let kind = if is_usb_3 { 0x2A } else { 0x29 };
        let mut answer = match request {
            Control { kind: 0xA0, request: 6, value, index: 0 } if value == kind << 8 => {
                let ports = u8::try_from(self.ports.len()).unwrap();
                vec![9, kind.to_le_bytes()[0], ports, self.switching, 0, 50, 100, 0, 0xFF]
            }
            Control { kind: 0x80, request: 6, value: 0x0F00, index: 0 } => {
                let id = [self.container.ok_or(rusb::Error::Pipe)?; 16];
                [&[5, 0x0F, 25, 0, 1, 20, 0x10, 4, 0], &id[..]].concat()
            }
            Control { kind: 0xA3, request: 0, value: 0, index } => {
                let on = self.has_power(index);
                let power = if is_usb_3 { 0x0200 } else { 0x0100 };
                let status: u16 =
                    if on { power } else { 0 } | if self.over_current { 8 } else { 0 };
                [status.to_le_bytes(), [0, 0]].concat()
            }
            _ => return Err(rusb::Error::Pipe),
        };
        answer.truncate(length);
        Ok(answer)
    }
}

impl Hub {
    fn new(usb: u16, ports: usize) -> Self {
        Self {
            usb,
            switching: PER_PORT,
            container: None,
            ports: vec![true; ports],
            over_current: false,
            told: 0,
            switched_on_again: 0,
            kernel: None,
        }
    }

    fn has_power(&self, port: u16) -> bool {
        let disable = self.kernel.iter().flat_map(|interface| {
            let ports = fs::read_dir(interface).unwrap().flatten();
            let own = format!("-port{port}");
            let is_own = ports.filter(move |p| p.file_name().to_str().unwrap().ends_with(&own));
            is_own.map(|port| fs::read_to_string(port.path().join("disable")).unwrap())
        });
        self.ports[usize::from(port) - 1] && disable.into_iter().all(|text| text != "1")
    }
}

const NUMBERS: (u16, u16) = (0x2109, 0x2817);

fn plug(host: &Host<Hub>, path: &str, hub: Hub) {
    let (ports, major) = (hub.ports.len().to_string(), hub.usb >> 8);
    let version = format!(" {major}.{:02x}", hub.usb & 0xFF);
    let attributes =
        [("bDeviceClass", "09"), ("version", version.as_str()), ("maxchild", ports.as_str())];
    host.plug(path, NUMBERS, &attributes, hub);
}

/// Gives a hub in the list ports with `disable`. Returns the directory of its interface.
fn ports(host: &Host<Hub>, interface: &str, hub: &str, number: u8) -> PathBuf {
    let directory = host.list().join(interface);
    for port in 1..=number {
        let port = directory.join(format!("{hub}-port{port}"));
        fs::create_dir_all(&port).unwrap();
        fs::write(port.join("disable"), "0").unwrap();
    }
    directory
}

fn port(host: &Host<Hub>, config: Value) -> Switched<UsbHub> {
    let config = parse(config).unwrap();
    Switched::new(UsbHub::on_bus(Arc::clone(&host.bus), config).unwrap())
}

fn powered(host: &Host<Hub>, path: &str) -> Vec<bool> {
    host.at(path, |hub| {
        (1..).zip(&hub.firmware.ports).map(|(p, _)| hub.firmware.has_power(p)).collect()
    })
}

async fn refused(host: &Host<Hub>, config: Value) -> String {
    port(host, config).off().await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_old_kernel_is_gone_past_and_the_hub_is_asked() {
    let host = Host::new();
    plug(&host, "1-1", Hub::new(0x0200, 4));
    let two = port(&host, json!({"path": "1-1", "port": 2}));
    let three = port(&host, json!({"id": "2109:2817", "port": "3"}));
    two.off().await.unwrap();
    three.off().await.unwrap();
    assert_eq!(powered(&host, "1-1"), [true, false, false, true]);
    assert_eq!(two.status().await.unwrap(), State::Off);
    two.on().await.unwrap();
    assert_eq!(powered(&host, "1-1"), [true, true, false, true]);
    let claims = host.at("1-1", |hub| hub.claims.clone());
    assert_eq!(claims, [Claim::Nothing], "both share the hub");
    three.close().await;
    two.status().await.unwrap();
    assert_eq!(host.at("1-1", |hub| hub.claims.len()), 1);
}

#[tokio::test]
async fn the_kernel_switches_if_it_can() {
    let host = Host::new();
    for (path, interface) in [("1-1.4", "1-1.4:1.0"), ("usb2", "2-0:1.0")] {
        let kernel = Some(ports(&host, interface, path, 4));
        plug(&host, path, Hub { kernel, ..Hub::new(0x0200, 4) });
        let three = port(&host, json!({"path": path, "port": 3}));
        three.off().await.unwrap();
        assert_eq!(powered(&host, path), [true, true, false, true]);
        three.on().await.unwrap();
        assert_eq!(powered(&host, path), [true; 4]);
        assert_eq!(host.at(path, |hub| hub.firmware.told), 0, "the hub is asked, not told");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_switches_on_again_is_switched_off_again() {
    let host = Host::new();
    plug(&host, "1-1", Hub { switched_on_again: 2, ..Hub::new(0x0200, 4) });
    let one = port(&host, json!({"path": "1-1", "port": 1}));
    one.off().await.unwrap();
    assert_eq!(host.at("1-1", |hub| hub.firmware.told), 3);
    host.at("1-1", |hub| hub.firmware.switched_on_again = usize::MAX);
    assert_eq!(
        one.off().await.unwrap_err().to_string(),
        "the kernel switches port 1 of the hub on again whenever it is switched off; Linux 6.0 and \
         later don't"
    );
}

#[tokio::test]
async fn both_halves_are_switched() {
    let host = Host::new();
    let half = |usb, ports| Hub { container: Some(7), ..Hub::new(usb, ports) };
    plug(&host, "1-1", half(0x0210, 4));
    plug(&host, "2-1", half(0x0320, 4));
    plug(&host, "2-2", Hub { container: Some(8), ..half(0x0320, 4) });
    let two = port(&host, json!({"path": "1-1", "port": 2}));
    two.off().await.unwrap();
    let off = [true, false, true, true];
    assert_eq!((powered(&host, "1-1"), powered(&host, "2-1")), (off.into(), off.into()));
    assert_eq!(powered(&host, "2-2"), [true; 4]);
    // From the other half it is the same socket.
    let same = port(&host, json!({"path": "2-1", "port": 2}));
    assert_eq!(same.status().await.unwrap(), State::Off);
    host.at("2-1", |hub| hub.firmware.ports[1] = true);
    assert_eq!(two.status().await.unwrap(), State::On, "one half gives power");
    same.off().await.unwrap();
    assert_eq!((powered(&host, "1-1"), powered(&host, "2-1")), (off.into(), off.into()));
    assert_eq!(host.at("2-1", |hub| hub.claims.len()), 1, "it stays open while somebody needs it");

    let alone = port(&host, json!({"path": "1-1", "port": 3, "companion": "none"}));
    alone.off().await.unwrap();
    assert_eq!((powered(&host, "1-1")[2], powered(&host, "2-1")[2]), (false, true));
    let told = port(&host, json!({"path": "1-1", "port": 3, "companion": "2-2"}));
    told.off().await.unwrap();
    assert_eq!(powered(&host, "2-2"), [true, true, false, true]);
    assert_eq!(
        refused(&host, json!({"path": "1-1", "port": 3, "companion": "3-1"})).await,
        "companion: there is no hub at 3-1"
    );
}

#[tokio::test]
async fn the_kernel_knows_which_ports_of_a_controller_are_one_socket() {
    let host = Host::new();
    let two = ports(&host, "1-0:1.0", "usb1", 4);
    let three = ports(&host, "2-0:1.0", "usb2", 2);
    std::os::unix::fs::symlink("../../../usb2/2-0:1.0/usb2-port1", two.join("usb1-port3/peer"))
        .unwrap();
    plug(&host, "usb1", Hub { kernel: Some(two), ..Hub::new(0x0200, 4) });
    plug(&host, "usb2", Hub { kernel: Some(three), ..Hub::new(0x0300, 2) });
    port(&host, json!({"path": "usb1", "port": 3})).off().await.unwrap();
    assert_eq!(powered(&host, "usb1"), [true, true, false, true]);
    assert_eq!(powered(&host, "usb2"), [false, true]);
    port(&host, json!({"path": "usb1", "port": 2})).off().await.unwrap();
    assert_eq!(powered(&host, "usb2"), [false, true], "port 2 is for USB 2 only");
}

#[tokio::test]
async fn a_hub_that_would_switch_something_else_is_refused() {
    let host = Host::new();
    plug(&host, "1-1", Hub { switching: 0, ..Hub::new(0x0200, 4) });
    plug(&host, "1-2", Hub { switching: 2, ..Hub::new(0x0200, 4) });
    plug(&host, "1-3", Hub { switching: 0, ..Hub::new(0x0200, 1) });
    plug(&host, "1-4", Hub { container: Some(7), ..Hub::new(0x0210, 4) });
    plug(&host, "2-4", Hub { container: Some(7), switching: 0, ..Hub::new(0x0300, 4) });
    plug(&host, "1-5", Hub::new(0x0200, 4));
    plug(&host, "1-5.4", Hub::new(0x0200, 4));
    let ganged = "the hub at 1-1 switches all of its ports together (ganged); take a hub that \
                  switches each by itself: github.com/mvp/uhubctl lists some, `hilt discover` those \
                  plugged in";
    assert_eq!(refused(&host, json!({"path": "1-1", "port": 1})).await, ganged);
    let error = refused(&host, json!({"path": "1-2", "port": 1})).await;
    assert!(error.starts_with("the hub at 1-2 does not switch power at all; "), "{error}");
    port(&host, json!({"path": "1-3", "port": 1})).off().await.unwrap();
    let error = refused(&host, json!({"path": "1-4", "port": 1})).await;
    assert!(error.starts_with("the hub at 2-4 switches all of its ports together"), "{error}");
    assert!(error.ends_with("With `companion: none` it is left alone"), "{error}");
    assert_eq!(powered(&host, "1-4"), [true; 4], "neither half was touched");
    assert_eq!(
        refused(&host, json!({"path": "1-5", "port": 4})).await,
        "port 4 of the hub at 1-5 leads to another hub at 1-5.4, and all that hangs on it; if its \
         ports are meant, write `path: \"1-5.4\"`"
    );
    assert_eq!(
        refused(&host, json!({"path": "1-5", "port": 5})).await,
        "port: 5 is none; the hub at 1-5 has 4"
    );
    port(&host, json!({"path": "1-5", "port": 3})).off().await.unwrap();
}

#[tokio::test]
async fn a_hub_that_is_not_named_clearly_is_refused() {
    let host = Host::new();
    plug(&host, "1-1", Hub::new(0x0200, 4));
    plug(&host, "1-2", Hub::new(0x0200, 4));
    assert_eq!(
        refused(&host, json!({"id": "2109:2817", "port": 1})).await,
        "several hubs are like this, at 1-1, 1-2; say which by `path`"
    );
    port(&host, json!({"id": "2109:2817", "path": "1-2", "port": 1})).off().await.unwrap();
    let entry = registry::find("hilt.power.UsbHub").unwrap();
    let refused = |config| entry.build(config).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"port": 1})),
        "which hub is meant? path, serial or id is required; `hilt discover` lists them"
    );
    assert_eq!(refused(json!({"path": "1-1", "port": 0})), "port: 0 is none; the first is 1");
    assert_eq!(refused(json!({"id": "2109", "port": 1})), "\"2109\" is not like \"2109:2817\"");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_comes_back_is_opened_again() {
    let host = Host::new();
    plug(&host, "1-1", Hub::new(0x0200, 4));
    let one = port(&host, json!({"path": "1-1", "port": 1}));
    one.off().await.unwrap();
    unplug(host.list(), "1-1");
    let error = one.off().await.unwrap_err();
    assert_eq!(error.to_string(), "there is no hub at 1-1: no hub at all");
    let back = async { plug(&host, "1-1", Hub::new(0x0200, 4)) };
    let (switched, ()) = tokio::join!(one.off(), back);
    switched.unwrap();
    assert_eq!(powered(&host, "1-1"), [false, true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_misbehaves_is_an_error() {
    let host = Host::new();
    plug(&host, "1-1", Hub::new(0x0200, 4));
    let one = port(&host, json!({"path": "1-1", "port": 1, "reconnect_timeout": 0}));
    let status = async |moods: &[Option<Mood>]| {
        host.at("1-1", |hub| hub.moods.extend(moods));
        one.status().await.unwrap_err()
    };
    // The first answer tells how it switches, the next is the status of the port.
    for mood in [Mood::Short, Mood::Garbage] {
        let error = status(&[Some(mood)]).await.to_string();
        assert!(error.starts_with("the hub does not say how it switches power; "), "{error}");
    }
    let error = status(&[None, Some(Mood::Short)]).await.to_string();
    assert_eq!(error, "the hub does not tell the status of port 1; it said [00, 01]");
    let error = status(&[None, Some(Mood::Stall)]).await.to_string();
    assert!(error.ends_with("it refuses the request"), "{error}");
    assert!(matches!(status(&[Some(Mood::Silent)]).await, DriverError::Timeout(_)));
    assert!(matches!(status(&[None, Some(Mood::Gone)]).await, DriverError::Disconnected(_)));
    host.at("1-1", |hub| hub.firmware.over_current = true);
    assert_eq!(
        one.on().await.unwrap_err().to_string(),
        "port 1 of the hub at 1-1 reports over-current: what is plugged in draws more than the hub \
         can give"
    );
}

#[tokio::test]
async fn hubs_are_listed_with_what_they_can_do() {
    let host = Host::new();
    let half = |usb| Hub { container: Some(7), ..Hub::new(usb, 2) };
    plug(&host, "1-1", half(0x0210));
    plug(&host, "2-1", half(0x0300));
    plug(&host, "1-1.2", Hub { switching: 0, ..Hub::new(0x0200, 4) });
    plug(&host, "1-2", Hub { switching: 2, ..Hub::new(0x0200, 4) });
    plug(&host, "1-3", Hub::new(0x0200, 1));
    let nodes = host.list().join("dev/bus/usb/001");
    fs::create_dir_all(&nodes).unwrap();
    for address in 1..=4 {
        fs::write(nodes.join(format!("{address:03}")), "").unwrap();
    }
    let this = discover::Host { root: host.list().to_owned(), is_this: true };
    let found = found(&host.bus, &host.bus.plugged().unwrap(), &this);
    let [pair, ganged, without, missing] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        pair.what,
        "hub of 2 ports, 2109:2817 at 1-1, serial number none, its other half at 2-1"
    );
    let entries: Vec<_> = pair.entries.iter().map(|e| (e.name.as_str(), &e.config)).collect();
    assert_eq!(entries, [("hub-port1", &json!({"path": "1-1", "port": 1}))], "2 leads to a hub");
    assert_eq!(pair.obstacles, [""; 0]);
    assert!(ganged.entries.is_empty() && without.entries.is_empty());
    assert_eq!(ganged.obstacles, ["ganged: it switches all of its ports together"]);
    assert_eq!(without.obstacles, ["it does not switch the power of its ports"]);
    assert_eq!(missing.entries[0].name, "hub-2-port1");
    let text = "there is no /dev/bus/usb/001/005; a container has to be given the host's devices";
    assert_eq!(missing.obstacles, [text]);
}
