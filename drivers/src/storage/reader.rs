//! Card readers on USB, as the kernel shows them in `/sys`.
//!
//! ```text
//! 1-1.4                            the device on USB
//!   1-1.4:1.0/host5/target5:0:0/
//!     5:0:0:0                      what it is to the kernel: a SCSI device
//!       model                      what it says that it is
//!       block/sdb                  the card in it
//!       scsi_generic/sg3           the reader itself, for commands of its own
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::{DriverError, Result};

/// One slot of a card reader: the directory of a SCSI device.
#[derive(Debug)]
pub(super) struct Slot(PathBuf);

/// The slots of the device on USB that has this directory.
pub(super) fn slots(device: &Path) -> Vec<Slot> {
    let interfaces = entries(device, |name| name.contains(':'));
    let hosts = interfaces.iter().flat_map(|interface| entries(interface, starts("host")));
    let targets = hosts.flat_map(|host| entries(&host, starts("target")));
    let slots = targets.flat_map(|target| entries(&target, |name| name.contains(':')));
    slots.map(Slot).collect()
}

impl Slot {
    /// What the reader says that it is.
    pub(super) fn model(&self) -> String {
        // A slot that is just going has none.
        fs::read_to_string(self.0.join("model")).unwrap_or_default().trim().to_owned()
    }

    /// The card in it, below `dev`, if the kernel has noticed that there is a slot.
    pub(super) fn disk(&self, dev: &Path) -> Option<PathBuf> {
        self.node("block", dev)
    }

    /// The reader itself, below `dev`, if the kernel has noticed it.
    pub(super) fn generic(&self, dev: &Path) -> Option<PathBuf> {
        self.node("scsi_generic", dev)
    }

    fn node(&self, class: &str, dev: &Path) -> Option<PathBuf> {
        let found = entries(&self.0.join(class), |_| true);
        Some(dev.join(found.first()?.file_name()?))
    }
}

/// The devices on USB that are plugged into the same hub as this one, which is not among them.
pub(super) fn siblings(device: &Path) -> Result<Vec<PathBuf>> {
    let hub = device.parent().ok_or_else(|| {
        DriverError::Device(format!("{} is plugged into nothing", device.display()))
    })?;
    let devices = entries(hub, |name| name.contains('-') && !name.contains(':'));
    Ok(devices.into_iter().filter(|other| other != device).collect())
}

fn starts(start: &'static str) -> impl Fn(&str) -> bool {
    move |name| name.starts_with(start)
}

/// What is in a directory under such names, in order; nothing if it is not there, or not any more.
fn entries(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| entry.file_name().to_str().is_some_and(&is_wanted));
    let mut paths: Vec<_> = wanted.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Gives a device on USB a slot, with what the kernel makes of it.
    pub(in super::super) fn add_slot(
        device: &Path,
        model: &str,
        disk: &str,
        generic: Option<&str>,
    ) {
        let name = device.file_name().unwrap().to_str().unwrap();
        let slot = device.join(format!("{name}:1.0/host5/target5:0:0/5:0:0:0"));
        fs::create_dir_all(slot.join("block").join(disk)).unwrap();
        fs::write(slot.join("model"), format!("{model}\n")).unwrap();
        if let Some(generic) = generic {
            fs::create_dir_all(slot.join("scsi_generic").join(generic)).unwrap();
        }
    }

    #[test]
    fn a_slot_is_found_below_its_device_only() {
        let folder = tempfile::tempdir().unwrap();
        let hub = folder.path().join("1-1");
        add_slot(&hub.join("1-1.1"), "first", "sdb", None);
        add_slot(&hub.join("1-1.2"), "second  ", "sdc", Some("sg3"));
        fs::create_dir_all(hub.join("1-1:1.0/usbmisc")).unwrap();
        let dev = Path::new("/dev");
        assert!(slots(&hub).is_empty());
        let found = slots(&hub.join("1-1.2"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].model(), "second");
        assert_eq!(found[0].disk(dev).unwrap(), Path::new("/dev/sdc"));
        assert_eq!(found[0].generic(dev).unwrap(), Path::new("/dev/sg3"));
        assert!(slots(&hub.join("1-1.1"))[0].generic(dev).is_none());
        assert_eq!(siblings(&hub.join("1-1.2")).unwrap(), [hub.join("1-1.1")]);
        assert!(slots(&hub.join("1-1.3")).is_empty());
    }
}
