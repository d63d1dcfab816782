//! What an image is, by its first bytes.
//!
//! QEMU would guess as well, but an image comes from a client, and some formats name other files of
//! the host, which the board could then read: those are refused.

use crate::{DriverError, Result};

/// How many bytes of an image it takes.
pub(super) const HEADER: usize = 80;

/// An image that QEMU can take as a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The disk itself.
    Raw,
    /// QEMU's own format.
    Qcow2 {
        /// The size of the disk in it, in bytes.
        size: u64,
    },
}

impl Format {
    /// Recognises an image. The fields of qcow2 are those of its specification.
    pub(super) fn of(header: &[u8]) -> Result<Self> {
        let number = |at: usize| {
            let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_be_bytes)
        };
        let version = header.get(4..8).and_then(|bytes| bytes.try_into().ok());
        if header.starts_with(b"QFI\xfb") {
            let version = version.map(u32::from_be_bytes);
            let (Some(2 | 3), Some(backing), Some(size)) = (version, number(8), number(24)) else {
                return Err(refused("a qcow image of a version that is not supported"));
            };
            // An external file for the data is an incompatible feature of version 3.
            let external = version == Some(3) && number(72).is_none_or(|bits| bits & 0b100 != 0);
            if backing != 0 || external {
                return Err(refused("a qcow2 image that needs other files"));
            }
            return Ok(Self::Qcow2 { size });
        }
        for (magic, name) in [
            (&b"KDMV"[..], "VMDK"),
            (b"# Disk DescriptorFile", "VMDK"),
            (b"vhdxfile", "VHDX"),
            (b"<<< ", "VDI"),
        ] {
            if header.starts_with(magic) {
                return Err(refused(&format!("a {name} image")));
            }
        }
        Ok(Self::Raw)
    }

    /// QEMU's name of it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 { .. } => "qcow2",
        }
    }
}

fn refused(what: &str) -> DriverError {
    DriverError::InvalidArgument(format!(
        "the disk is {what}; make it one with 'qemu-img convert -O qcow2'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2(version: u32, backing: u64, features: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        header[..4].copy_from_slice(b"QFI\xfb");
        header[4..8].copy_from_slice(&version.to_be_bytes());
        header[8..16].copy_from_slice(&backing.to_be_bytes());
        header[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        header[72..80].copy_from_slice(&features.to_be_bytes());
        header
    }

    #[test]
    fn images_are_recognised() {
        assert_eq!(Format::of(b"").unwrap(), Format::Raw);
        assert_eq!(Format::of(&[0xeb; HEADER]).unwrap(), Format::Raw);
        assert_eq!(Format::of(&qcow2(3, 0, 1)).unwrap(), Format::Qcow2 { size: 1 << 30 });
        assert_eq!(Format::of(&qcow2(2, 0, 4)).unwrap(), Format::Qcow2 { size: 1 << 30 });
    }

    #[test]
    fn an_image_that_needs_files_of_the_host_is_refused() {
        let refused = |header: &[u8]| Format::of(header).unwrap_err().to_string();
        assert_eq!(
            refused(&qcow2(3, 0x200, 0)),
            "the disk is a qcow2 image that needs other files; \
             make it one with 'qemu-img convert -O qcow2'"
        );
        assert!(refused(&qcow2(3, 0, 4)).contains("needs other files"));
        assert!(refused(&qcow2(1, 0, 0)).contains("not supported"));
        assert!(refused(b"QFI\xfb").contains("not supported"));
        assert!(refused(b"# Disk DescriptorFile\nversion=1").contains("VMDK"));
    }
}
