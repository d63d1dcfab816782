//! What the host itself uses a block device for, and how one tells a device from all others.
//!
//! The kernel's own tables answer: `/sys` says what lies on a device, partitions and the volumes on
//! top of them, and `/proc` what of it is mounted or swapped to.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's tables.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// `/sys`
    pub(super) sys: PathBuf,
    /// `/proc`
    pub(super) proc: PathBuf,
}

/// The number of a block device, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) u64, pub(super) u64);

/// What the host uses a device for. Nothing of this may be overwritten.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// `/` is on it.
    Root { through: String },
    /// Another file system is on it.
    Mounted { device: String, at: String },
    /// Memory is swapped out to it.
    Swap { device: String },
    /// It is part of something larger: a volume group, an array, an encrypted device.
    Part { of: String },
}

impl Default for Kernel {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }
}

impl Kernel {
    /// What the host uses a device for, if it does: the device itself, its partitions, or what is
    /// built on top of them.
    pub(super) fn usage(&self, device: Number) -> io::Result<Option<Usage>> {
        let layers = self.layers(&self.name(device)?)?;
        let mounts = fs::read_to_string(self.proc.join("self/mountinfo"))?;
        // A kernel without swap has no such file.
        let swaps = fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        Ok(usage(&layers, &mounts, &swaps))
    }

    /// The serial number of a device, or of what it is plugged in with; none if it has none.
    pub(super) fn serial(&self, device: Number) -> io::Result<Option<String>> {
        let directory = fs::canonicalize(self.directory(device))?;
        let found = directory
            .ancestors()
            .take_while(|place| place.starts_with(&self.sys))
            .find_map(|place| fs::read_to_string(place.join("serial")).ok());
        Ok(found.map(|serial| serial.trim().to_owned()).filter(|serial| !serial.is_empty()))
    }

    /// Whether a device is plugged in with what has this directory, which has no links in it.
    pub(super) fn is_below(&self, device: Number, directory: &Path) -> io::Result<bool> {
        Ok(fs::canonicalize(self.directory(device))?.starts_with(directory))
    }

    /// Whether a device can only be read.
    pub(super) fn is_read_only(&self, device: Number) -> bool {
        let read_only = fs::read_to_string(self.directory(device).join("ro"));
        read_only.is_ok_and(|read_only| read_only.trim() == "1")
    }

    fn directory(&self, Number(major, minor): Number) -> PathBuf {
        self.sys.join(format!("dev/block/{major}:{minor}"))
    }

    fn name(&self, device: Number) -> io::Result<String> {
        Ok(file_name(&fs::canonicalize(self.directory(device))?))
    }

    /// A device and all that is built on top of it.
    fn layers(&self, name: &str) -> io::Result<Vec<Layer>> {
        let class = self.sys.join("class/block");
        let (mut layers, mut seen) = (Vec::new(), HashSet::new());
        let mut waiting = vec![(name.to_owned(), Kind::Itself)];
        while let Some((name, kind)) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let directory = class.join(&name);
            for entry in entries(&directory)? {
                if directory.join(&entry).join("partition").exists() {
                    waiting.push((entry, Kind::Partition));
                }
            }
            let holders = entries(&directory.join("holders"))?;
            waiting.extend(holders.into_iter().map(|holder| (holder, Kind::Holder)));
            let number = fs::read_to_string(directory.join("dev"))?.trim().to_owned();
            layers.push(Layer { name, number, kind });
        }
        Ok(layers)
    }
}

/// A device, or something that is built on it.
#[derive(Debug, PartialEq, Eq)]
struct Layer {
    name: String,
    /// As the kernel writes it: `8:1`.
    number: String,
    kind: Kind,
}

/// How a layer came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Itself,
    Partition,
    /// A volume of the device mapper, an array.
    Holder,
}

/// What these layers are used for; the worst of it.
fn usage(layers: &[Layer], mounts: &str, swaps: &str) -> Option<Usage> {
    let mut found = None;
    for mount in mounts.lines().filter_map(Mount::parse) {
        let Some(layer) = layers.iter().find(|layer| mount.is_of(layer)) else { continue };
        if mount.at == "/" {
            return Some(Usage::Root { through: layer.name.clone() });
        }
        found = found.or(Some(Usage::Mounted { device: layer.name.clone(), at: mount.at }));
    }
    let swapped = || {
        let paths = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let mut names = paths.map(resolved);
        let device = names.find(|name| layers.iter().any(|layer| layer.name == *name))?;
        Some(Usage::Swap { device })
    };
    let held = || {
        let holder = layers.iter().find(|layer| layer.kind == Kind::Holder)?;
        Some(Usage::Part { of: holder.name.clone() })
    };
    found.or_else(swapped).or_else(held)
}

/// A line of `/proc/self/mountinfo`, see `proc_pid_mountinfo(5)`.
struct Mount<'l> {
    number: &'l str,
    at: String,
    source: &'l str,
}

impl<'l> Mount<'l> {
    fn parse(line: &'l str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let number = fields.nth(2)?;
        let at = unescaped(fields.nth(1)?);
        Some(Self { number, at, source: file_system.split(' ').nth(1)? })
    }

    /// Some file systems, such as btrfs, have a number that is not the device's.
    fn is_of(&self, layer: &Layer) -> bool {
        self.number == layer.number
            || self.source.starts_with("/dev/") && resolved(self.source) == layer.name
    }
}

/// The name of the device that a path leads to, through links.
fn resolved(path: &str) -> String {
    let path = Path::new(path);
    file_name(&fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
}

/// The kernel writes a space as `\040`.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

fn entries(directory: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(file_name(&entry?.path()))).collect(),
        // A partition of an old kernel has no holders.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Follows the path of the device: `/dev/sda ...`
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root { through } => write!(
                f,
                "is what this host runs from ('/' is on {through}); configure the device of the bench"
            ),
            Self::Mounted { device, at } => write!(
                f,
                "is in use: {device} is mounted on {at}; unmount it, and keep automounters off the bench"
            ),
            Self::Swap { device } => {
                write!(
                    f,
                    "is in use: this host swaps to {device}; configure the device of the bench"
                )
            }
            Self::Part { of } => {
                write!(
                    f,
                    "is in use: it is part of {of}; take that apart or configure another device"
                )
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// The tables of a host with an SSD (`sda`, with `/boot` and a volume group that has `/`), a card
    /// reader (`sdb`) and a network disk.
    fn host() -> (TempDir, Kernel) {
        let folder = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(folder.path()).unwrap();
        let kernel = Kernel { sys: top.join("sys"), proc: top.join("proc") };
        for (device, number, of) in [
            ("pci0/ata1/block/sda", "8:0", None),
            ("pci0/ata1/block/sda/sda1", "8:1", Some("sda")),
            ("pci0/ata1/block/sda/sda2", "8:2", Some("sda")),
            ("virtual/block/dm-0", "254:0", None),
            ("pci0/usb1/1-4/1-4:1.0/host2/block/sdb", "8:16", None),
            ("pci0/usb1/1-4/1-4:1.0/host2/block/sdb/sdb1", "8:17", Some("sdb")),
        ] {
            let directory = kernel.sys.join("devices").join(device);
            fs::create_dir_all(directory.join("holders")).unwrap();
            fs::write(directory.join("dev"), format!("{number}\n")).unwrap();
            if of.is_some() {
                fs::write(directory.join("partition"), "1\n").unwrap();
            }
            for link in
                [format!("dev/block/{number}"), format!("class/block/{}", file_name(&directory))]
            {
                let link = kernel.sys.join(link);
                fs::create_dir_all(link.parent().unwrap()).unwrap();
                symlink(&directory, link).unwrap();
            }
        }
        fs::write(kernel.sys.join("devices/pci0/usb1/1-4/serial"), "000000001206\n").unwrap();
        hold(&kernel, "sda2", "dm-0");
        fs::create_dir_all(kernel.proc.join("self")).unwrap();
        mount(
            &kernel,
            "22 1 254:0 / / rw,relatime - ext4 /dev/mapper/vg-root rw\n\
            23 22 8:1 / /boot rw - vfat /dev/sda1 rw\n\
            24 22 0:33 / /srv rw - nfs server:/srv rw\n",
        );
        (folder, kernel)
    }

    fn hold(kernel: &Kernel, device: &str, by: &str) {
        let class = kernel.sys.join("class/block");
        symlink(class.join(by), class.join(device).join("holders").join(by)).unwrap();
    }

    fn mount(kernel: &Kernel, mountinfo: &str) {
        fs::write(kernel.proc.join("self/mountinfo"), mountinfo).unwrap();
    }

    const SDA: Number = Number(8, 0);
    const SDB: Number = Number(8, 16);

    #[test]
    fn what_the_host_runs_from_is_found_through_partitions_and_volumes() {
        let (_folder, kernel) = host();
        let root = Usage::Root { through: "dm-0".into() };
        for device in [SDA, Number(8, 2), Number(254, 0)] {
            assert_eq!(kernel.usage(device).unwrap().as_ref(), Some(&root));
        }
        assert_eq!(
            root.to_string(),
            "is what this host runs from ('/' is on dm-0); configure the device of the bench"
        );
        let boot = kernel.usage(Number(8, 1)).unwrap();
        assert_eq!(boot, Some(Usage::Mounted { device: "sda1".into(), at: "/boot".into() }));
        assert_eq!(kernel.usage(SDB).unwrap(), None);
    }

    #[test]
    fn a_mount_is_found_by_its_source_where_the_number_is_another() {
        let (_folder, kernel) = host();
        mount(&kernel, "30 1 0:44 / /media/my\\040card rw - btrfs /dev/sdb1 rw\n");
        let usage = kernel.usage(SDB).unwrap().unwrap();
        assert_eq!(
            usage.to_string(),
            "is in use: sdb1 is mounted on /media/my card; unmount it, and keep automounters off the \
             bench"
        );
    }

    #[test]
    fn swap_and_parts_of_arrays_are_in_use() {
        let (_folder, kernel) = host();
        mount(&kernel, "");
        fs::write(kernel.proc.join("swaps"), "Filename Type Size\n/dev/sdb1 partition 1024\n")
            .unwrap();
        assert_eq!(kernel.usage(SDB).unwrap(), Some(Usage::Swap { device: "sdb1".into() }));
        assert_eq!(kernel.usage(SDA).unwrap(), Some(Usage::Part { of: "dm-0".into() }));
    }

    #[test]
    fn a_card_is_known_by_the_reader_that_it_is_in() {
        let (_folder, kernel) = host();
        for part in [SDB, Number(8, 17)] {
            assert_eq!(kernel.serial(part).unwrap().as_deref(), Some("000000001206"));
        }
        assert_eq!(kernel.serial(SDA).unwrap(), None);
    }

    #[test]
    fn a_card_is_below_its_reader() {
        let (_folder, kernel) = host();
        let port = |path: &str| kernel.sys.join("devices/pci0/usb1").join(path);
        assert!(kernel.is_below(SDB, &port("1-4")).unwrap());
        assert!(!kernel.is_below(SDB, &port("1-3")).unwrap());
        assert!(!kernel.is_below(SDA, &port("1-4")).unwrap());
    }

    #[test]
    fn this_host_is_understood() {
        let kernel = Kernel::default();
        let root = fs::metadata("/").unwrap();
        let number = std::os::unix::fs::MetadataExt::dev(&root);
        let number = Number(nix::sys::stat::major(number), nix::sys::stat::minor(number));
        // In a container, `/` is on no device that could be seen.
        if kernel.directory(number).exists() {
            assert!(matches!(kernel.usage(number).unwrap(), Some(Usage::Root { .. })));
        }
    }
}
