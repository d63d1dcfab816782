//! A host with devices that exist only in a test.

use std::fs;
use std::path::Path;

/// Puts a device of Yepkit's vendor into the kernel's list.
pub(crate) fn plug(list: &Path, path: &str, product: u16, serial: &str, address: u8) {
    let directory = list.join(path);
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in [
        ("idVendor", "04d8".to_owned()),
        ("idProduct", format!("{product:04x}")),
        ("serial", serial.to_owned()),
        ("busnum", "1".to_owned()),
        // Last, because without it there is no device.
        ("devnum", address.to_string()),
    ] {
        fs::write(directory.join(name), format!("{text}\n")).unwrap();
    }
}

/// Takes a device out of the kernel's list.
pub(crate) fn unplug(list: &Path, path: &str) {
    fs::remove_dir_all(list.join(path)).unwrap();
}
