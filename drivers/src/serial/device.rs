//! One open serial port, or what stands for one, without blocking.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{fstat, major};
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serialport::{ErrorKind, SerialPort as _, TTYPort};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use super::holder::holder;
use super::rfc2217::{self, Connected, Remote};
use crate::blocking::{self, SlowDrop};
use crate::{DriverError, Result, permission, readiness};

/// How long setting a modem line may take; behind USB it is a transfer.
const MODEM_LIMIT: Duration = Duration::from_secs(5);

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

impl ModemLine {
    /// What an RFC 2217 server is told.
    const fn ordered(self, level: bool) -> rfc2217::Control {
        match (self, level) {
            (Self::Dtr, true) => rfc2217::Control::DtrOn,
            (Self::Dtr, false) => rfc2217::Control::DtrOff,
            (Self::Rts, true) => rfc2217::Control::RtsOn,
            (Self::Rts, false) => rfc2217::Control::RtsOff,
        }
    }
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
    control: Control,
    /// Released last, when the device is closed; with an RFC 2217 server, that is not for this
    /// device to say.
    _claim: Option<Claim>,
}

/// How the modem lines are set.
#[derive(Debug)]
enum Control {
    Tty(Arc<Mutex<TTYPort>>),
    Remote(Remote),
    /// A plain socket has none.
    None,
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
            control: Control::Tty(Arc::new(Mutex::new(tty.control))),
            _claim: Some(tty.claim),
        })))
    }

    /// A connection to a serial port server as a device.
    pub(super) fn socket(stream: TcpStream, claim: Claim) -> io::Result<Self> {
        let data = readiness::watch(stream.into_std()?.into())?;
        Ok(Self(SlowDrop::new(Open { data, control: Control::None, _claim: Some(claim) })))
    }

    /// A port behind an RFC 2217 server as a device.
    pub(super) fn remote(connected: Connected) -> io::Result<Self> {
        let Connected { data, remote } = connected;
        let data = readiness::watch(data)?;
        Ok(Self(SlowDrop::new(Open { data, control: Control::Remote(remote), _claim: None })))
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

    /// Sets a modem line. `name` is the port's in errors.
    pub(super) async fn set_modem_line(
        &self,
        line: ModemLine,
        level: bool,
        name: &str,
    ) -> Result<()> {
        let what = format!("set {line} of {name}");
        let port = match &self.0.control {
            Control::Tty(port) => Arc::clone(port),
            Control::Remote(remote) => return remote.set(line.ordered(level), &what).await,
            Control::None => return Err(DriverError::Unsupported(format!("{name} has no {line}"))),
        };
        let is_pseudo_terminal = self.is_pseudo_terminal();
        let context = what.clone();
        blocking::run(&what, MODEM_LIMIT, move || {
            let mut port = port.lock().expect("because nothing panics while it sets a line");
            let set = match line {
                ModemLine::Dtr => port.write_data_terminal_ready(level),
                ModemLine::Rts => port.write_request_to_send(level),
            };
            match set {
                Ok(()) => Ok(()),
                Err(error) if is_pseudo_terminal => Err(DriverError::Unsupported(format!(
                    "{context}: {error}: it is a pseudo terminal, which has no modem lines"
                ))),
                Err(error) => Err(DriverError::io(context, error.into())),
            }
        })
        .await
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
            let who = holder(path).unwrap_or_else(|| "another program".into());
            DriverError::Busy(format!("open {path}: {who} is using it"))
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
