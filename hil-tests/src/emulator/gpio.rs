//! A line of a GPIO chip: the kernel's own simulator, `gpio-sim`.
//!
//! `Documentation/admin-guide/gpio/gpio-sim.rst` has the files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const CHIPS: &str = "/sys/kernel/config/gpio-sim";

/// A chip with one line. It stays until the kernel ends.
#[derive(Debug)]
pub(crate) struct Chip {
    device: String,
    /// Where the line's level is.
    value: PathBuf,
}

impl Chip {
    /// # Errors
    ///
    /// The kernel has no such simulator, or already a chip of this name.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let home = Path::new(CHIPS).join(name);
        let bank = home.join("bank");
        let read = |path: PathBuf| fs::read_to_string(path).map(|text| text.trim().to_owned());
        let plug_in = || -> std::io::Result<_> {
            fs::create_dir(&home)?;
            fs::create_dir(&bank)?;
            fs::write(bank.join("num_lines"), "1")?;
            fs::write(home.join("live"), "1")?;
            Ok((read(home.join("dev_name"))?, read(bank.join("chip_name"))?))
        };
        let (platform, chip) = plug_in().with_context(|| format!("making the chip {name}"))?;
        let line = Path::new("/sys/devices/platform").join(platform).join(&chip).join("sim_gpio0");
        Ok(Self { device: format!("/dev/{chip}"), value: line.join("value") })
    }

    /// Its node.
    pub(crate) fn device(&self) -> &str {
        &self.device
    }

    /// Whether its line is high.
    pub(crate) fn is_high(&self) -> Result<bool> {
        let value = fs::read_to_string(&self.value).context("looking at the line")?;
        Ok(value.trim() == "1")
    }
}
