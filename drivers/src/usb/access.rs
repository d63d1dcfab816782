//! Who may open a device, and who has.

use std::fs;
use std::path::{Path, PathBuf};

use super::listing::Plugged;

/// Where a device is opened.
pub(crate) fn node(device: &Plugged) -> PathBuf {
    format!("/dev/bus/usb/{:03}/{:03}", device.bus, device.address).into()
}

/// The udev rule that gives a device to the group of plugged devices.
pub(crate) fn udev_rule(device: &Plugged) -> String {
    format!(
        "SUBSYSTEM==\"usb\", ATTR{{idVendor}}==\"{:04x}\", ATTR{{idProduct}}==\"{:04x}\", \
         MODE=\"0660\", GROUP=\"plugdev\"",
        device.vendor, device.product
    )
}

/// The processes that have a node open, as far as this one may see them, and apart from it. `proc` is
/// `/proc` except in tests.
pub(crate) fn holder(proc: &Path, node: &Path) -> Option<String> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let holds = |process: &fs::DirEntry| {
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        process.file_name() != own.as_str()
            && open.into_iter().any(|fd| {
                fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == node.as_os_str())
            })
    };
    let name = |process: fs::DirEntry| {
        let id = process.file_name();
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        format!("{} (process {})", name.trim(), id.display())
    };
    let holders: Vec<_> = processes.filter(holds).map(name).collect();
    (!holders.is_empty()).then(|| holders.join(", "))
}
