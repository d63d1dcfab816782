//! The GPIO drivers on the kernel's own GPIO simulator, gpio-sim.
//!
//! Without one these tests say so and do nothing; with `HILT_GPIO_SIM=required` they fail instead. The
//! kernel of the hardware tests has one, and runs them as cargo's runner: see `hil-tests`.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drivers::driver::{Call, Resources};
use drivers::stream::{Sink, Source};
use drivers::{Args, Driver, DriverError, Result, registry};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const CONFIGFS: &str = "/sys/kernel/config/gpio-sim";

/// A chip of eight lines, of which line 3 has the chip's own name. Dropping it unplugs it.
struct Simulator {
    folder: PathBuf,
    /// The character device.
    device: String,
    /// Where each line can be pulled and looked at.
    lines: PathBuf,
}

impl Simulator {
    /// None where there is no simulator.
    fn plug_in(name: &str) -> Option<Self> {
        if !Path::new(CONFIGFS).is_dir() {
            let why = format!("{CONFIGFS} is missing: this kernel has no gpio-sim");
            assert_ne!(std::env::var("HILT_GPIO_SIM").as_deref(), Ok("required"), "{why}");
            eprintln!("SKIP: {why}");
            return None;
        }
        let folder = Path::new(CONFIGFS).join(name);
        let bank = folder.join("bank");
        fs::create_dir_all(bank.join("line3")).unwrap();
        fs::write(bank.join("num_lines"), "8").unwrap();
        fs::write(bank.join("line3/name"), name).unwrap();
        fs::write(folder.join("live"), "1").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap().trim().to_owned();
        let (platform, chip) = (read(&folder.join("dev_name")), read(&bank.join("chip_name")));
        let lines = Path::new("/sys/devices/platform").join(platform).join(&chip);
        Some(Self { folder, device: format!("/dev/{chip}"), lines })
    }

    /// The voltage of a line: driven, or else pulled.
    fn is_high(&self, line: u32) -> bool {
        let value = self.lines.join(format!("sim_gpio{line}/value"));
        fs::read_to_string(value).unwrap().trim() == "1"
    }

    fn pull(&self, line: u32, high: bool) {
        let pull = self.lines.join(format!("sim_gpio{line}/pull"));
        fs::write(pull, if high { "pull-up" } else { "pull-down" }).unwrap();
    }

    fn unplug(&self) {
        fs::write(self.folder.join("live"), "0").unwrap();
    }

    fn build(&self, name: &str, mut config: Value) -> Arc<dyn Driver> {
        config["device"] = json!(self.device);
        let entry = registry::find(&format!("jumpstarter_driver_gpiod.driver.{name}")).unwrap();
        entry.build(config).unwrap().driver
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.unplug();
        for folder in ["bank/line3", "bank", ""] {
            fs::remove_dir(self.folder.join(folder)).unwrap();
        }
    }
}

/// GPIO needs no data.
struct Nothing;

#[async_trait]
impl Resources for Nothing {
    async fn source(&self, _: &Value) -> Result<Source> {
        Err(DriverError::Unsupported("there is nothing to read".into()))
    }

    async fn sink(&self, _: &Value) -> Result<Sink> {
        Err(DriverError::Unsupported("there is nowhere to write".into()))
    }
}

async fn call(driver: &Arc<dyn Driver>, method: &str, args: Value) -> Result<Value> {
    let args = Args::new(args.as_array().unwrap().clone());
    driver.call(Call { method, args, resources: &Nothing }).await
}

#[tokio::test]
async fn a_power_switch_is_held_and_keeps_its_level_over_leases() {
    let Some(chip) = Simulator::plug_in("power") else { return };
    let power = chip.build("PowerSwitch", json!({"line": "power"}));
    power.open().await.unwrap();
    assert!(!chip.is_high(3));
    call(&power, "on", json!([])).await.unwrap();
    assert!(chip.is_high(3));
    power.close().await;
    assert!(chip.is_high(3), "the lease is over, and the board still on");

    power.open().await.unwrap();
    assert_eq!(call(&power, "status", json!([])).await.unwrap(), "on");
    assert_eq!(call(&power, "read_pin", json!([])).await.unwrap(), 1);
    call(&power, "off", json!([])).await.unwrap();
    assert!(!chip.is_high(3));
}

#[tokio::test]
async fn active_may_be_low_and_a_level_may_be_configured() {
    let Some(chip) = Simulator::plug_in("active-low") else { return };
    let config = json!({"line": 2, "active_low": true, "initial_value": "active"});
    let output = chip.build("DigitalOutput", config);
    output.open().await.unwrap();
    assert_eq!(call(&output, "read_pin", json!([])).await.unwrap(), 1);
    assert!(!chip.is_high(2));
    call(&output, "off", json!([])).await.unwrap();
    assert!(chip.is_high(2));
    output.open().await.unwrap();
    assert!(!chip.is_high(2), "every lease begins with it");
}

#[tokio::test]
async fn a_line_that_was_an_output_is_not_switched_by_taking_it() {
    let Some(chip) = Simulator::plug_in("keep") else { return };
    let first = chip.build("DigitalOutput", json!({"line": 5, "initial_value": true}));
    first.open().await.unwrap();
    // The simulator puts a line that nobody holds back to where it is pulled.
    chip.pull(5, true);
    drop(first);
    assert!(chip.is_high(5));
    let second = chip.build("PowerSwitch", json!({"line": 5}));
    second.open().await.unwrap();
    assert!(chip.is_high(5));
    assert_eq!(call(&second, "status", json!([])).await.unwrap(), "on");
}

#[tokio::test]
async fn a_line_that_is_taken_says_by_whom() {
    let Some(chip) = Simulator::plug_in("busy") else { return };
    let (one, other) = (
        chip.build("DigitalInput", json!({"line": 1})),
        chip.build("PowerSwitch", json!({"line": 1})),
    );
    one.open().await.unwrap();
    let error = other.open().await.unwrap_err();
    assert!(matches!(error, DriverError::Busy(_)), "{error:?}");
    let expected = format!("GPIO line 1 of {}: it is held by 'hilt'", chip.device);
    assert_eq!(error.to_string(), expected);
    one.close().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = other.open().await {
        assert!(matches!(error, DriverError::Busy(_)) && Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let Some(chip) = Simulator::plug_in("missing") else { return };
    for line in [json!(8), json!("power-good")] {
        let error = chip.build("DigitalInput", json!({"line": line})).open().await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)), "{error:?}");
    }
    let entry = registry::find("jumpstarter_driver_gpiod.driver.DigitalInput").unwrap();
    let input = |device: &str| entry.build(json!({"line": 1, "device": device})).unwrap().driver;
    for device in ["/dev/gpiochip99", "/dev/null"] {
        let error = input(device).open().await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_input_is_waited_for() {
    let Some(chip) = Simulator::plug_in("input") else { return };
    let input = chip.build("DigitalInput", json!({"line": 6, "bias": "pull_down"}));
    input.open().await.unwrap();
    assert_eq!(call(&input, "read_pin", json!([])).await.unwrap(), 0);

    let mut waiting = Box::pin(call(&input, "wait_for_active", json!([30.0])));
    assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    chip.pull(6, true);
    waiting.await.unwrap();
    assert_eq!(call(&input, "read_pin", json!([])).await.unwrap(), 1);
    call(&input, "wait_for_active", json!([null])).await.unwrap();

    chip.pull(6, false);
    call(&input, "wait_for_edge", json!(["falling", 30.0])).await.unwrap();
    let error = call(&input, "wait_for_edge", json!(["rising", 0.05])).await.unwrap_err();
    assert!(matches!(error, DriverError::Timeout(_)), "{error:?}");
    assert_eq!(error.to_string(), "Timed out waiting for line 6 edge event");

    // Whoever goes away leaves nothing behind that would take the next edge.
    let abandoned = call(&input, "wait_for_edge", json!(["rising", null]));
    assert!(timeout(Duration::from_millis(50), abandoned).await.is_err());
    chip.pull(6, true);
    call(&input, "wait_for_edge", json!(["rising", 30.0])).await.unwrap();
}

#[tokio::test]
async fn a_chip_that_is_unplugged_is_an_error_and_may_come_back() {
    let Some(chip) = Simulator::plug_in("unplug") else { return };
    // Found by its name, as the kernel may give the chip another number.
    let entry = registry::find("jumpstarter_driver_gpiod.driver.PowerSwitch").unwrap();
    let power = entry.build(json!({"line": "unplug", "default": "on"})).unwrap().driver;
    power.open().await.unwrap();
    chip.unplug();
    let error = call(&power, "off", json!([])).await.unwrap_err();
    assert!(matches!(error, DriverError::Disconnected(_)), "{error:?}");
    let error = power.open().await.unwrap_err();
    assert!(matches!(error, DriverError::NotFound(_)), "{error:?}");

    fs::write(chip.folder.join("live"), "1").unwrap();
    power.open().await.unwrap();
    assert_eq!(call(&power, "status", json!([])).await.unwrap(), "on");
}
