//! SCSI commands to a device, past all that the kernel knows about it.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

/// How long the device may take for a command.
const COMMAND_LIMIT: Duration = Duration::from_secs(3);

/// The most that a device says about what went wrong, in bytes.
const SENSE: usize = 64;

/// A command descriptor block.
pub(super) type Command = [u8; 16];

/// What goes with a command.
#[derive(Debug)]
pub(super) enum Data<'d> {
    /// To the device.
    Out(&'d [u8]),
    /// From the device.
    In(&'d mut [u8]),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// What the device says: 0 is good, 2 is that it could not.
    pub(super) status: u8,
    /// What the way to the device says: 0 is that it got there and back. Linux's `DID_` numbers.
    pub(super) host_status: u16,
    /// How many bytes of the data went their way.
    pub(super) transferred: usize,
}

/// Something that takes commands to devices.
pub(super) trait Scsi: fmt::Debug + Send + Sync {
    /// Opens the device, sends a command, and closes it again. Blocks for a limited time.
    fn command(&self, device: &Path, command: &Command, data: Data<'_>) -> io::Result<Ended>;
}

/// The kernel, by `SG_IO`.
#[derive(Debug)]
pub(super) struct Kernel;

impl Scsi for Kernel {
    fn command(&self, device: &Path, command: &Command, data: Data<'_>) -> io::Result<Ended> {
        let file = OpenOptions::new().read(true).write(true).open(device)?;
        let mut sense = [0_u8; SENSE];
        // The kernel only reads what goes to the device.
        let (direction, memory, length) = match data {
            Data::Out(bytes) => (TO_DEVICE, bytes.as_ptr().cast_mut(), bytes.len()),
            Data::In(bytes) => (FROM_DEVICE, bytes.as_mut_ptr(), bytes.len()),
        };
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let limit = u32::try_from(COMMAND_LIMIT.as_millis()).map_err(too_long)?;
        let mut header = Header {
            interface_id: i32::from(b'S'),
            direction,
            command_length: 16,
            sense_size: 64,
            data_length: u32::try_from(length).map_err(too_long)?,
            data: memory.cast(),
            command: command.as_ptr().cast(),
            sense: sense.as_mut_ptr().cast(),
            timeout: limit,
            ..Header::default()
        };
        #[expect(unsafe_code, reason = "no library wraps this ioctl")]
        // SAFETY: the header is the kernel's `sg_io_hdr`, and its three pointers are to memory of the
        // lengths that it says, which lives until the call returns; the kernel writes to that of the
        // data only if the direction is from the device, and then it was borrowed for writing.
        unsafe { sg_io(file.as_raw_fd(), &raw mut header) }?;
        let missing = usize::try_from(header.residual).unwrap_or(0).min(length);
        Ok(Ended {
            status: header.status,
            host_status: header.host_status,
            transferred: length - missing,
        })
    }
}

/// `SG_DXFER_TO_DEV` and `SG_DXFER_FROM_DEV` of `scsi/sg.h`.
const TO_DEVICE: i32 = -2;
const FROM_DEVICE: i32 = -3;

/// `struct sg_io_hdr` of `scsi/sg.h`.
#[repr(C)]
#[derive(Debug)]
struct Header {
    interface_id: i32,
    direction: i32,
    command_length: u8,
    sense_size: u8,
    scatter_count: u16,
    data_length: u32,
    data: *mut std::ffi::c_void,
    command: *const std::ffi::c_void,
    sense: *mut std::ffi::c_void,
    /// In milliseconds.
    timeout: u32,
    flags: u32,
    pack_id: i32,
    user: *mut std::ffi::c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_length: u8,
    host_status: u16,
    driver_status: u16,
    residual: i32,
    duration: u32,
    info: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            interface_id: 0,
            direction: 0,
            command_length: 0,
            sense_size: 0,
            scatter_count: 0,
            data_length: 0,
            data: std::ptr::null_mut(),
            command: std::ptr::null(),
            sense: std::ptr::null_mut(),
            timeout: 0,
            flags: 0,
            pack_id: 0,
            user: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_length: 0,
            host_status: 0,
            driver_status: 0,
            residual: 0,
            duration: 0,
            info: 0,
        }
    }
}

nix::ioctl_readwrite_bad!(
    /// Sends a command and waits for its end; see the kernel's `scsi-generic` documentation.
    sg_io,
    0x2285,
    Header
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_long_as_the_kernels() {
        let expected = if cfg!(target_pointer_width = "64") { 88 } else { 64 };
        assert_eq!(size_of::<Header>(), expected);
    }

    #[test]
    fn what_takes_no_commands_says_so() {
        let mut data = [0; 512];
        let error = Kernel.command(Path::new("/dev/null"), &[0; 16], Data::In(&mut data));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(nix::errno::Errno::ENOTTY as i32));
    }
}
