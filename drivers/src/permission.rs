//! What to tell somebody whose exporter may not open a device.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Gid, Group};

/// What to change so that the exporter may open `path`.
pub(crate) fn what_permits(path: &Path) -> String {
    let owner = std::fs::metadata(path).ok().map(|data| Gid::from_raw(data.gid()));
    match owner.and_then(|gid| Group::from_gid(gid).ok().flatten()) {
        Some(group) => format!("add its user to the group '{}' and restart it", group.name),
        None => "give its user access, for example with a udev rule".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_device_is_named() {
        let group = "add its user to the group 'root' and restart it";
        assert_eq!(what_permits(Path::new("/dev/null")), group);
        let missing = what_permits(Path::new("/dev/nonexistent"));
        assert_eq!(missing, "give its user access, for example with a udev rule");
    }
}
