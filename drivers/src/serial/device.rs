//! One open serial port, or what stands for one, without blocking.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::stat::{fstat, major};
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serialport::{ErrorKind, SerialPort as _, TTYPort};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use crate::blocking::SlowDrop;
use crate::{DriverError, Result, permission, readiness};

/// The right to have the device open; shared with whoever is about to open it.
pub(super) type Claim = Arc<tokio::sync::OwnedMutexGuard<()>>;

/// Settings that the port gets when it is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) baudrate: NonZeroU32,
    pub(super) disable_hupcl: bool,
}

/// A modem line that the host drives.
#[derive(Debug, Clone, Copy)]
pub(super) enum ModemLine {
    Dtr,
    Rts,
}

impl fmt::Display for ModemLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dtr => "DTR",
            Self::Rts => "RTS",
        })
    }
}

/// An open port.
#[derive(Debug)]
pub(super) struct Device(SlowDrop<Open>);

#[derive(Debug)]
struct Open {
    data: AsyncFd<OwnedFd>,
    /// The settings and modem lines; a socket has none.
    control: Option<Mutex<TTYPort>>,
    /// Released last, when the device is closed.
    _claim: Option<Claim>,
}

/// A terminal that was just opened, before the runtime knows of it.
#[derive(Debug)]
pub(super) struct Tty {
    data: OwnedFd,
    control: TTYPort,
    claim: Claim,
}

impl Device {
    /// A terminal as a device.
    pub(super) fn tty(tty: Tty) -> io::Result<Self> {
        Ok(Self(SlowDrop::new(Open {
            data: readiness::watch(tty.data)?,
            control: Some(Mutex::new(tty.control)),
            _claim: Some(tty.claim),
        })))
    }

    /// A connection to a serial port server as a device.
    pub(super) fn socket(stream: TcpStream) -> io::Result<Self> {
        let data = readiness::watch(stream.into_std()?.into())?;
        Ok(Self(SlowDrop::new(Open { data, control: None, _claim: None })))
    }

    /// Waits for bytes and hands the descriptor to `read`, which may find that there are none.
    pub(super) async fn when_readable<T>(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> nix::Result<T>,
    ) -> io::Result<T> {
        self.0.data.async_io(Interest::READABLE, |fd| Ok(read(fd.as_fd())?)).await
    }

    /// Waits for room and sends what fits into it; returns how much that was, in bytes.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?)).await
    }

    /// Sets a modem line. Blocks. `path` names the port in errors.
    pub(super) fn set_modem_line(&self, line: ModemLine, level: bool, path: &str) -> Result<()> {
        let Some(control) = &self.0.control else {
            return Err(DriverError::Unsupported(format!("{path} has no {line}")));
        };
        let mut control = control.lock().expect("because nothing panics while it sets a line");
        let set = match line {
            ModemLine::Dtr => control.write_data_terminal_ready(level),
            ModemLine::Rts => control.write_request_to_send(level),
        };
        match set {
            Ok(()) => Ok(()),
            Err(error) if self.is_pseudo_terminal() => Err(DriverError::Unsupported(format!(
                "set {line} of {path}: {error}: it is a pseudo terminal, which has no modem lines"
            ))),
            Err(error) => Err(DriverError::io(format!("set {line} of {path}"), error.into())),
        }
    }

    fn is_pseudo_terminal(&self) -> bool {
        /// The device numbers of Unix98 pseudo terminals, from the kernel's list of devices.
        const MAJORS: std::ops::RangeInclusive<u64> = 136..=143;
        fstat(self.0.data.get_ref()).is_ok_and(|stat| MAJORS.contains(&major(stat.st_rdev)))
    }
}

impl Tty {
    /// Opens a terminal for this process alone. Blocks.
    ///
    /// # Errors
    ///
    /// Not found, not permitted and in use are different categories.
    pub(super) fn open(path: &str, line: Line, claim: &Claim) -> Result<Self> {
        let control = TTYPort::open(&serialport::new(path, line.baudrate.get()))
            .map_err(|error| refusal(path, error))?;
        #[expect(unsafe_code, reason = "the port only gives out its descriptor as a number")]
        // SAFETY: the port is open, and stays so while this borrow is used, to the end of the line.
        let data = unsafe { BorrowedFd::borrow_raw(control.as_raw_fd()) }.try_clone_to_owned();
        let data = data.map_err(|error| DriverError::io(format!("open {path}"), error))?;
        if line.disable_hupcl
            && let Err(error) = keep_modem_lines(&data)
        {
            tracing::warn!(
                "{path} can't be told to keep its modem lines when it is closed: {error}"
            );
        }
        Ok(Self { data, control, claim: Arc::clone(claim) })
    }
}

/// Clears HUPCL, because of which the last close drops the modem lines.
fn keep_modem_lines(port: &OwnedFd) -> nix::Result<()> {
    let mut settings = tcgetattr(port)?;
    settings.control_flags.remove(ControlFlags::HUPCL);
    tcsetattr(port, SetArg::TCSANOW, &settings)
}

/// Why a port could not be opened, and what would help.
fn refusal(path: &str, error: serialport::Error) -> DriverError {
    match error.kind() {
        ErrorKind::NoDevice => {
            DriverError::Busy(format!("open {path}: another program is using it ({error})"))
        }
        ErrorKind::Io(io::ErrorKind::NotFound) => DriverError::NotFound(format!(
            "open {path}: there is no such device; is it plugged in?"
        )),
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => DriverError::PermissionDenied(format!(
            "open {path}: the exporter may not; {}",
            permission::what_permits(Path::new(path))
        )),
        ErrorKind::Unknown | ErrorKind::InvalidInput if !is_character_device(path) => {
            DriverError::NotFound(format!("open {path}: it is not a serial port"))
        }
        ErrorKind::Unknown | ErrorKind::InvalidInput | ErrorKind::Io(_) => {
            DriverError::io(format!("open {path}"), error.into())
        }
    }
}

fn is_character_device(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_char_device())
}

/// Whether an error of reading or writing means that the device is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EIO | Errno::ENXIO | Errno::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let refused =
            |kind| refusal("/dev/null", serialport::Error::new(kind, "the kernel's words"));
        let error = refused(ErrorKind::Io(io::ErrorKind::NotFound));
        assert!(matches!(error, DriverError::NotFound(_)));
        let error = refused(ErrorKind::NoDevice);
        assert!(matches!(error, DriverError::Busy(_)));
        let error = refused(ErrorKind::Io(io::ErrorKind::PermissionDenied));
        assert!(matches!(error, DriverError::PermissionDenied(_)));
        let start = "open /dev/null: the exporter may not; add its user to the group ";
        assert!(error.to_string().starts_with(start), "{error}");
        let error = refused(ErrorKind::Unknown);
        assert_eq!(error.to_string(), "open /dev/null: the kernel's words");
    }

    #[test]
    fn a_device_that_is_gone_is_told_from_one_that_failed() {
        assert!(is_gone(&io::Error::from_raw_os_error(Errno::EIO as i32)));
        assert!(!is_gone(&io::Error::from_raw_os_error(Errno::ENOMEM as i32)));
        assert!(!is_gone(&io::Error::other("without a number")));
    }
}
