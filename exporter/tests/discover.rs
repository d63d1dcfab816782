//! `hilt discover`, as it is typed, on hosts that exist only as files.
#![expect(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A host: `/sys`, `/dev`, `/proc` and `/run` below a directory.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(TempDir::new().unwrap());
        host.write("sys/bus/usb/devices/.keep", "");
        host
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Plugs in a device with its numbers, `vvvv:pppp`, and attributes.
    fn plug(&self, path: &str, numbers: &str, address: u8, attributes: &[(&str, &str)]) {
        let (vendor, product) = numbers.split_once(':').unwrap();
        let (address_text, usual) = (address.to_string(), [("bDeviceClass", "00")]);
        let identity = [
            ("idVendor", vendor),
            ("idProduct", product),
            ("version", " 2.00"),
            ("busnum", "1"),
            ("devnum", &address_text),
        ];
        for (name, text) in identity.iter().chain(&usual).chain(attributes) {
            self.write(&format!("sys/bus/usb/devices/{path}/{name}"), &format!("{text}\n"));
        }
        self.write(&format!("dev/bus/usb/001/{address:03}"), "");
    }

    /// Gives a device a serial port and its names in `/dev`.
    fn tty(&self, device: &str, tty: &str, links: &[&str]) {
        let interface = format!("sys/bus/usb/devices/{device}/{device}:1.0/{tty}");
        self.write(&format!("{interface}/port_number"), "0\n");
        let target = format!("../../../bus/usb/devices/{device}/{device}:1.0/{tty}");
        self.link(&format!("sys/class/tty/{tty}/device"), &target);
        self.write(&format!("sys/class/tty/{tty}/dev"), "188:0\n");
        self.write(&format!("dev/{tty}"), "");
        for link in links {
            self.link(&format!("dev/serial/{link}"), &format!("../../{tty}"));
        }
    }
}

fn hilt(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hilt")).env_clear().args(arguments).output().unwrap()
}

/// What `hilt discover` prints for a host.
fn discover(host: &Host, arguments: &[&str]) -> String {
    let root = host.root().to_str().unwrap();
    let output = hilt(&[&["discover", "--root", root], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_plugged_in_is_a_configuration() {
    let host = Host::new();
    host.plug("1-1", "0424:2514", 2, &[("bDeviceClass", "09"), ("maxchild", "2")]);
    host.write("sys/bus/usb/devices/1-1:1.0/1-1-port1/power/pm_qos_no_power_off", "0\n");
    host.plug("1-1.1", "04d8:f2f7", 3, &[("product", "YKUSH"), ("serial", "YK20078")]);
    host.plug("1-1.2", "04d8:f2f7", 4, &[("product", "YKUSH"), ("serial", "YK20079")]);
    host.plug("1-2", "16c0:05df", 5, &[("product", "USBRelay2")]);
    host.plug("1-3", "16c0:05df", 6, &[("product", "a thermometer")]);
    host.plug("1-4", "5131:2007", 7, &[]);
    host.plug("1-5", "04b4:fd12", 8, &[]);
    host.plug("1-6", "0403:6001", 9, &[("product", "FT232R"), ("serial", "A1B2")]);
    host.tty("1-6", "ttyUSB0", &["by-id/usb-FTDI_FT232R_A1B2-if00-port0", "by-path/a"]);
    host.plug("1-7", "1a86:7523", 10, &[]);
    host.tty("1-7", "ttyUSB1", &["by-id/usb-1a86_USB_Serial-if00-port0", "by-path/b"]);
    // A port that is not on USB.
    host.write("sys/class/tty/ttyS0/dev", "4:64\n");
    let yaml = discover(&host, &[]);
    for line in [
        "  # YKUSH, 04d8:f2f7 at 1-1.1, serial number YK20078",
        "  ykush-port3: { type: jumpstarter_driver_yepkit.driver.Ykush, config: { serial: \"YK20078\", port: \"3\" } }",
        "  ykush-2-port1: { type: jumpstarter_driver_yepkit.driver.Ykush, config: { serial: \"YK20079\", port: \"1\" } }",
        "  usbrelay-relay2: { type: hilt.power.UsbRelay, config: { path: \"1-2\", relay: 2 } }",
        "  noyito-channel4: { type: jumpstarter_driver_noyito_relay.driver.NoyitoPowerHID, config: { path: \"1-4\", channel: 4 } }",
        "  # HID relay board, 5131:2007 at 1-4, serial number none; fill in: `num_channels: 8`, if the board has eight",
        "  energenie-slot1: { type: hilt.power.EnerGenieUsb, config: { path: \"1-5\", slot: 1 } }",
        "  serial: { type: jumpstarter_driver_pyserial.driver.PySerial, config: { url: \"/dev/serial/by-id/usb-FTDI_FT232R_A1B2-if00-port0\" } }",
        "  serial-2: { type: jumpstarter_driver_pyserial.driver.PySerial, config: { url: \"/dev/serial/by-path/b\" } }",
        "  hub-port2: { type: hilt.power.UsbHub, config: { path: \"1-1\", port: 2 } }",
        "  # in the way: it may be ganged, and switch all of its ports together: it was not asked",
    ] {
        assert!(yaml.lines().any(|found| found == line), "{line}\nis not in\n{yaml}");
    }
    assert!(!yaml.contains("1-3"), "{yaml}");
    assert_eq!(yaml.matches("in the way").count(), 1, "{yaml}");

    let file = host.root().join("bench.yaml");
    fs::write(&file, yaml).unwrap();
    let checked = hilt(&["check", "--strict", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn what_is_in_the_way_says_what_would_help() {
    let host = Host::new();
    host.plug("1-1", "0424:4041", 2, &[("product", "usb-sd-mux_rev3"), ("serial", "0012")]);
    host.plug("1-2", "0403:6001", 3, &[("serial", "A1B2")]);
    host.tty("1-2", "ttyUSB0", &[]);
    host.plug("1-3", "04d8:f2f7", 4, &[("serial", "YK1")]);
    fs::remove_file(host.root().join("dev/bus/usb/001/004")).unwrap();
    host.write("proc/41/comm", "ModemManager\n");
    host.write("proc/42/comm", "minicom\n");
    host.link("proc/42/fd/3", "/dev/ttyUSB0");
    host.plug("1-4", "05e3:0608", 5, &[("bDeviceClass", "09"), ("maxchild", "4")]);
    let found: Value = serde_json::from_str(&discover(&host, &["--format", "json"])).unwrap();
    let found = found.as_array().unwrap();
    let obstacles = |what: &str| {
        let device = found.iter().find(|found| found["what"].as_str().unwrap().contains(what));
        device.unwrap()["obstacles"].clone()
    };
    assert_eq!(
        obstacles("USB-SD-Mux"),
        json!(["the kernel's module sg is not loaded; run `modprobe sg`, and write sg into \
                /etc/modules-load.d/hilt.conf so that it always is"])
    );
    assert_eq!(
        obstacles("YKUSH"),
        json!(["there is no /dev/bus/usb/001/004; a container has to be given the host's devices"])
    );
    let manager = "ModemManager is running and sends commands to what is plugged in; add this line to \
                   /etc/udev/rules.d/70-hilt.rules, run `udevadm control --reload`, and plug it in \
                   again: ATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", \
                   ENV{ID_MM_DEVICE_IGNORE}=\"1\"";
    let held = "in use by minicom (process 42), unless that is Hilt already";
    assert_eq!(obstacles("ttyUSB0"), json!([held, manager]));
    assert_eq!(obstacles("05e3:0608"), json!(["it does not switch the power of its ports"]));

    // A board brings its console with it.
    host.plug("1-5", "2b23:1012", 6, &[("product", "Dutlink"), ("serial", "c415")]);
    host.tty("1-5", "ttyACM0", &[]);

    // What was advised helps.
    host.write("sys/module/sg/refcnt", "0\n");
    host.write("run/udev/data/c188:0", "E:ID_MM_DEVICE_IGNORE=1\n");
    fs::remove_file(host.root().join("proc/42/fd/3")).unwrap();
    host.write("dev/bus/usb/001/004", "");
    let yaml = discover(&host, &[]);
    assert!(!yaml.contains("in the way") && !yaml.contains("ttyACM0"), "{yaml}");
    assert!(
        yaml.contains("  dutlink: { type: jumpstarter_driver_dutlink.driver.Dutlink, "),
        "{yaml}"
    );
    assert!(yaml.contains("\n# hub of 4 ports, 05e3:0608 at 1-4"), "{yaml}");
}

#[test]
fn a_host_without_anything_is_told_so() {
    let host = Host::new();
    let yaml = discover(&host, &[]);
    assert!(yaml.ends_with("# Nothing is plugged in that can be used.\n"), "{yaml}");
    assert_eq!(discover(&host, &["--format", "json"]), "[]\n");
}
