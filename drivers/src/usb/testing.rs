//! A host with devices that exist only in a test.

use std::fs;
use std::path::Path;

/// Puts a device of Yepkit's vendor into the kernel's list.
pub(crate) fn plug(list: &Path, path: &str, product: u16, serial: &str, address: u8) {
    plug_with(list, path, (0x04d8, product), address, &[("serial", serial)]);
}

/// Puts a device with these numbers of vendor and product, and these attributes, into the kernel's
/// list.
pub(crate) fn plug_with(
    list: &Path,
    path: &str,
    (vendor, product): (u16, u16),
    address: u8,
    attributes: &[(&str, &str)],
) {
    let directory = list.join(path);
    fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), format!("{text}\n")).unwrap();
    };
    write("idVendor", &format!("{vendor:04x}"));
    write("idProduct", &format!("{product:04x}"));
    write("bDeviceClass", "00");
    write("busnum", "1");
    for (name, text) in attributes {
        write(name, text);
    }
    // Last, because without it there is no device.
    write("devnum", &address.to_string());
}

/// Takes a device out of the kernel's list.
pub(crate) fn unplug(list: &Path, path: &str) {
    fs::remove_dir_all(list.join(path)).unwrap();
}
