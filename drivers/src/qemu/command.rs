//! QEMU's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::config::{Accelerator, Config, Forward};
use super::store::Disk;

/// What one start of a board consists of, beside its configuration.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    /// In bytes.
    pub(super) memory: u64,
    /// Whether the exporter may use the host's processor.
    pub(super) kvm: bool,
    pub(super) sockets: &'a Sockets,
    pub(super) disk: Option<&'a Disk>,
    pub(super) bios: Option<&'a Path>,
    /// The firmware in flash memory and its variables.
    pub(super) flash: Option<(&'a Path, &'a Path)>,
    /// The folder that becomes the disk for cloud-init.
    pub(super) cidata: &'a Path,
}

/// Where QEMU and the exporter meet.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) qmp: PathBuf,
    pub(super) console: PathBuf,
    pub(super) vnc: PathBuf,
}

impl Sockets {
    pub(super) fn below(folder: &Path) -> Self {
        Self { qmp: folder.join("qmp"), console: folder.join("console"), vnc: folder.join("vnc") }
    }
}

/// The name of the disk in QMP.
pub(super) const DISK: &str = "rootfs";

impl Config {
    /// The machine, if it is not left to QEMU.
    fn machine(&self) -> Option<&str> {
        let default = match self.arch.as_str() {
            "aarch64" | "arm" | "riscv64" | "riscv32" => Some("virt"),
            "x86_64" => Some("q35"),
            _ => None,
        };
        self.machine.as_deref().or(default)
    }

    /// Whether the machine is a board with what belongs to it, and not one that is put together.
    pub(super) fn is_board(&self) -> bool {
        let machine = self.machine.as_deref().and_then(|machine| machine.split(',').next());
        machine.is_some_and(|name| !name.starts_with("virt") && !name.starts_with("q35"))
    }
}

impl Start<'_> {
    /// The arguments. The board stands still until it is told to go on.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut all = Arguments::default();
        self.processor(&mut all);
        all.add("-m", format!("{}B", self.memory));
        for flag in ["-nodefaults", "-S"] {
            all.0.push(flag.into());
        }
        all.add("-display", "none");
        for (id, socket) in [("qmp", &self.sockets.qmp), ("console", &self.sockets.console)] {
            all.add("-chardev", format!("socket,id={id},path={}", escaped(socket)));
        }
        all.add("-mon", "chardev=qmp,mode=control");
        all.add("-serial", "chardev:console");
        all.add("-vnc", format!("unix:{}", escaped(&self.sockets.vnc)));
        if let Some(bios) = self.bios {
            all.add("-bios", bios);
        }
        if let Some((code, variables)) = self.flash {
            let drive = "if=pflash,format=raw";
            let code = escaped(code);
            all.add("-drive", format!("{drive},unit=0,readonly=on,file={code}"));
            let variables = escaped(variables);
            all.add("-drive", format!("{drive},unit=1,snapshot=on,file={variables}"));
        }
        if self.config.is_board() {
            self.board(&mut all);
        } else {
            self.machine(&mut all);
        }
        all.0.extend(self.config.args.iter().map(OsString::from));
        all.0
    }

    fn processor(&self, all: &mut Arguments) {
        let config = self.config;
        if let Some(machine) = config.machine() {
            all.add("-machine", machine);
        }
        let kvm = match config.accel {
            Accelerator::Auto => self.kvm && config.arch == std::env::consts::ARCH,
            Accelerator::Kvm => true,
            Accelerator::Tcg => false,
        };
        if kvm {
            all.add("-accel", "kvm");
        }
        // A board has its own.
        let default = match config.arch.as_str() {
            _ if config.is_board() => None,
            _ if kvm => Some("host"),
            "aarch64" => Some("cortex-a57"),
            "arm" => Some("cortex-a15"),
            "x86_64" => Some("qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt"),
            _ => None,
        };
        if let Some(cpu) = config.cpu.as_deref().or(default) {
            all.add("-cpu", cpu);
        }
        // A board has as many as it has, unless it is told.
        if !config.is_board() || config.smp.get() != 2 {
            all.add("-smp", config.smp.to_string());
        }
    }

    /// The devices of a machine that is put together.
    fn machine(&self, all: &mut Arguments) {
        all.add("-vga", "none");
        all.add("-netdev", format!("user,id=eth0{}", self.forwards()));
        // Without the firmware of network cards, which is in another package.
        all.add("-device", "virtio-net-pci,netdev=eth0,romfile=");
        all.add("-device", "virtio-gpu-pci");
        if let Some(disk) = self.disk {
            let file = json!({"driver": "file", "filename": disk.path});
            let node = json!({"driver": disk.format.name(), "node-name": DISK, "file": file});
            all.add("-blockdev", node.to_string());
            all.add("-device", format!("virtio-blk-pci,drive={DISK},bootindex=1"));
        }
        let cidata = json!({
            "driver": "vvfat", "node-name": "cidata", "read-only": true, "dir": self.cidata,
            "label": "CIDATA",
        });
        all.add("-blockdev", cidata.to_string());
        all.add("-device", "virtio-blk-pci,drive=cidata");
    }

    /// What is plugged into a board.
    fn board(&self, all: &mut Arguments) {
        all.add("-nic", format!("user{}", self.forwards()));
        if let Some(disk) = self.disk {
            let (format, file) = (disk.format.name(), escaped(&disk.path));
            let drive = format!("if=sd,id={DISK},format={format},file={file}");
            all.add("-drive", drive);
        }
    }

    fn forwards(&self) -> String {
        let forward = |forward: &Forward| {
            let Forward { hostaddr, hostport, guestport, .. } = forward;
            format!(",hostfwd=tcp:{hostaddr}:{hostport}-:{guestport}")
        };
        self.config.hostfwd.values().map(forward).collect()
    }
}

#[derive(Debug, Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

/// A path within an option, where a comma ends it unless it is doubled.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Debian's package with the QEMU for an architecture.
pub(super) fn package(arch: &str) -> &'static str {
    match arch {
        "x86_64" | "i386" => "qemu-system-x86",
        "arm" | "aarch64" => "qemu-system-arm",
        "ppc" | "ppc64" => "qemu-system-ppc",
        "mips" | "mipsel" | "mips64" | "mips64el" => "qemu-system-mips",
        "sparc" | "sparc64" => "qemu-system-sparc",
        _ => "qemu-system-misc",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::format::Format;
    use super::*;
    use crate::registry::parse;

    fn arguments(config: Value, kvm: bool) -> String {
        let config: Config = parse(config).unwrap();
        let sockets = Sockets {
            qmp: "/run/a,b/qmp".into(),
            console: "/run/console".into(),
            vnc: "/run/vnc".into(),
        };
        let disk = Disk { path: "/tmp/root".into(), format: Format::Qcow2 { size: 1 } };
        let start = Start {
            config: &config,
            memory: 512 << 20,
            kvm,
            sockets: &sockets,
            disk: Some(&disk),
            bios: Some(Path::new("/u-boot.bin")),
            flash: Some((Path::new("/code"), Path::new("/vars"))),
            cidata: Path::new("/run/cidata"),
        };
        let arguments = start.arguments();
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_machine_is_put_together() {
        let forward = json!({"ssh": {"hostport": 2222, "guestport": 22}});
        let config = json!({"arch": "aarch64", "hostfwd": forward, "args": ["-s"], "accel": "tcg"});
        let arguments = arguments(config, true);
        for part in [
            "-machine virt -cpu cortex-a57 -smp 2 -m 536870912B",
            "-chardev socket,id=qmp,path=/run/a,,b/qmp",
            "-bios /u-boot.bin",
            "-drive if=pflash,format=raw,unit=1,snapshot=on,file=/vars",
            "-netdev user,id=eth0,hostfwd=tcp:127.0.0.1:2222-:22",
            r#"{"driver":"qcow2","node-name":"rootfs","file":{"driver":"file","filename":"/tmp/root"}}"#,
            "-device virtio-blk-pci,drive=rootfs,bootindex=1",
            "-device virtio-blk-pci,drive=cidata",
        ] {
            assert!(arguments.contains(part), "{part}\n{arguments}");
        }
        assert!(arguments.ends_with(" -s"), "{arguments}");
        assert!(!arguments.contains("kvm"), "{arguments}");
    }

    #[test]
    fn a_board_has_an_sd_card_and_nothing_that_is_not_on_it() {
        let config = json!({"arch": "arm", "machine": "bpim2u", "mem": "1G"});
        let arguments = arguments(config, true);
        assert!(arguments.contains("-drive if=sd,id=rootfs,format=qcow2,file=/tmp/root"));
        assert!(arguments.contains("-nic user "), "{arguments}");
        for part in ["virtio", "-cpu", "-smp", "cidata", "kvm"] {
            assert!(!arguments.contains(part), "{part}\n{arguments}");
        }
    }

    #[test]
    fn the_hosts_processor_is_used_where_it_can_be() {
        let host = std::env::consts::ARCH;
        assert!(arguments(json!({}), true).contains("-accel kvm -cpu host"));
        assert!(!arguments(json!({}), false).contains("kvm"));
        assert!(!arguments(json!({"accel": "tcg"}), true).contains("kvm"));
        let cpu = arguments(json!({"arch": host, "cpu": "max"}), true);
        assert!(cpu.contains("-accel kvm -cpu max"), "{cpu}");
    }
}
