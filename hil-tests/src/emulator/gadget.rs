//! A card reader on USB: the kernel's own mass storage gadget, plugged in to its own dummy
//! controller.
//!
//! `Documentation/usb/gadget_configfs.rst` has the files; `usb-storage` and `sd` see an ordinary
//! disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::program;

const GADGETS: &str = "/sys/kernel/config/usb_gadget";
const CONTROLLER: &str = "dummy_udc.0";
const HOST_CONTROLLER: &str = "/sys/devices/platform/dummy_hcd.0";

/// A reader, not plugged in and without a card at first.
#[derive(Debug)]
pub(crate) struct Reader {
    home: PathBuf,
}

impl Reader {
    pub(crate) fn new(serial: &str) -> Result<Self> {
        let reader = Self { home: Path::new(GADGETS).join(serial) };
        let home = &reader.home;
        for directory in ["", "strings/0x409", "configs/c.1", "functions/mass_storage.0"] {
            fs::create_dir(home.join(directory))
                .with_context(|| format!("making {directory} of the reader"))?;
        }
        // Linux' own vendor, and its number for such a gadget.
        reader.set("idVendor", "0x1d6b")?;
        reader.set("idProduct", "0x0104")?;
        reader.set("strings/0x409/serialnumber", serial)?;
        reader.set("functions/mass_storage.0/lun.0/removable", "1")?;
        symlink(home.join("functions/mass_storage.0"), home.join("configs/c.1/mass_storage.0"))
            .context("giving the reader its function")?;
        Ok(reader)
    }

    /// Puts a card in.
    pub(crate) fn insert(&self, card: &Path, read_only: bool) -> Result<()> {
        let slot = "functions/mass_storage.0/lun.0";
        self.set(&format!("{slot}/file"), "\n")?;
        self.set(&format!("{slot}/ro"), if read_only { "1" } else { "0" })?;
        self.set(&format!("{slot}/file"), &card.display().to_string())
    }

    /// Plugs it in.
    pub(crate) fn plug_in(&self) -> Result<()> {
        self.set("UDC", CONTROLLER)
    }

    /// Pulls it out, whatever is under way.
    pub(crate) fn pull(&self) -> Result<()> {
        self.set("UDC", "\n")
    }

    /// Takes the kernel's own switch of its port away.
    pub(crate) fn hide_switch_of_port(&self) -> Result<()> {
        let entries = fs::read_dir(HOST_CONTROLLER).context("looking for the reader's hub")?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let bus = names.into_iter().find_map(|name| name.strip_prefix("usb")?.parse::<u8>().ok());
        let bus = bus.context("the reader's controller has no bus")?;
        let port = format!("{HOST_CONTROLLER}/usb{bus}/{bus}-0:1.0/usb{bus}-port1");
        program("mount", &["-t", "tmpfs", "none", &port], "").map(drop)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.home.join(file);
        fs::write(&path, value).with_context(|| format!("writing {value:?} to {}", path.display()))
    }
}
