//! What keeps a device from being used, and what would help.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::{Host, Offer};
use crate::usb::{Claim, Plugged, holder, node, udev_rule};

/// What is in the way of a device on USB.
pub(super) fn obstacles(host: &Host, device: &Plugged, offer: &Offer) -> Vec<String> {
    let missing = offer.needs.iter().filter(|module| !host.at("/sys/module").join(module).exists());
    let missing = missing.map(|module| {
        format!(
            "the kernel's module {module} is not loaded; run `modprobe {module}`, and write {module} \
             into /etc/modules-load.d/hilt.conf so that it always is"
        )
    });
    let held = match offer.kind.claim {
        Claim::Nothing => None,
        Claim::Interface(_) | Claim::Detached(_) => holder(&host.at("/proc"), &node(device)),
    };
    let held = held.map(|holder| format!("in use by {holder}, unless that is Hilt already"));
    permission(host, device).into_iter().chain(held).chain(missing).collect()
}

/// Why a device on USB can't be opened.
pub(crate) fn permission(host: &Host, device: &Plugged) -> Option<String> {
    let node = node(device);
    let help = || {
        format!(
            "add this line to /etc/udev/rules.d/70-hilt.rules, put the exporter's user into the group \
             plugdev, and run `udevadm control --reload && udevadm trigger`: {}",
            udev_rule(device)
        )
    };
    refusal(&node, may_use(host, &node), help)
}

/// Why a serial port can't be opened.
pub(super) fn tty_permission(host: &Host, node: &Path) -> Option<String> {
    let help = || "put the exporter's user into the group dialout".to_owned();
    refusal(node, may_use(host, node), help)
}

fn may_use(host: &Host, node: &Path) -> Result<(), Errno> {
    access(&host.at(node), AccessFlags::R_OK | AccessFlags::W_OK)
}

fn refusal(node: &Path, access: Result<(), Errno>, help: impl Fn() -> String) -> Option<String> {
    let node = node.display();
    match access {
        Ok(()) => None,
        Err(Errno::ENOENT) => {
            Some(format!("there is no {node}; a container has to be given the host's devices"))
        }
        Err(Errno::EACCES) => Some(format!("this user may not open {node}; {}", help())),
        Err(error) => Some(format!("{node} can't be opened: {error}")),
    }
}

/// The process of this name, if there is one.
pub(super) fn running(host: &Host, name: &str) -> bool {
    let processes = fs::read_dir(host.at("/proc")).into_iter().flatten().flatten();
    let mut names = processes.flat_map(|process| fs::read_to_string(process.path().join("comm")));
    names.any(|found| found.trim_end() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_says_what_would_help() {
        let refusal = |access| refusal(Path::new("/dev/ttyUSB0"), access, || "do this".into());
        assert_eq!(refusal(Ok(())), None);
        let text = "this user may not open /dev/ttyUSB0; do this";
        assert_eq!(refusal(Err(Errno::EACCES)).as_deref(), Some(text));
        let text = "there is no /dev/ttyUSB0; a container has to be given the host's devices";
        assert_eq!(refusal(Err(Errno::ENOENT)).as_deref(), Some(text));
        let text = "/dev/ttyUSB0 can't be opened: EROFS: Read-only file system";
        assert_eq!(refusal(Err(Errno::EROFS)).as_deref(), Some(text));
    }
}
