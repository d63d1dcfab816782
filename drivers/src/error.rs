//! What can go wrong in a driver call.

use std::io;

/// The result of anything a driver does.
pub type Result<T, E = DriverError> = std::result::Result<T, E>;

/// A failed driver call.
///
/// The variants are the categories a caller can act on; each maps to one gRPC code at the edge, so
/// a new variant needs a line there. Messages are fragments that fit "failed to ...: {error}".
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The driver has no method of this name.
    #[error("method {0} not found on driver")]
    NoSuchMethod(String),
    /// The driver has the method, but it is called another way (unary, items, bytes).
    #[error("method {method} missing marker {marker}")]
    WrongShape {
        /// The method asked for.
        method: String,
        /// The marker that the method lacks, as the reference names it.
        marker: &'static str,
    },
    /// An argument is missing, superfluous, of the wrong type or out of range.
    #[error("{0}")]
    InvalidArgument(String),
    /// The device can't do this.
    #[error("{0}")]
    Unsupported(String),
    /// The device, file or object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The exporter may not use the device. The message names what to change.
    #[error("{0}")]
    PermissionDenied(String),
    /// Somebody else has the device open.
    #[error("{0}")]
    Busy(String),
    /// The device did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// The device or the peer went away.
    #[error("{0}")]
    Disconnected(String),
    /// An input or output error that is none of the above.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, and to what.
        context: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The device answered with a failure of its own.
    #[error("{0}")]
    Device(String),
}

impl DriverError {
    /// Sorts an I/O error into the category that callers act on; `context` says what was done to what.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's enum is open")]
    pub fn io(context: impl Into<String>, source: io::Error) -> Self {
        let context = context.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(format!("{context}: {source}")),
            io::ErrorKind::PermissionDenied => {
                Self::PermissionDenied(format!("{context}: {source}"))
            }
            io::ErrorKind::TimedOut => Self::Timeout(format!("{context}: {source}")),
            io::ErrorKind::ResourceBusy => Self::Busy(format!("{context}: {source}")),
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => Self::Disconnected(format!("{context}: {source}")),
            _ => Self::Io { context, source },
        }
    }

    /// Whether the device may just not be there yet, so that it helps to wait. One that has just
    /// appeared belongs to root for a moment, until udev has given it to its group.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::PermissionDenied(_) => true,
            Self::NoSuchMethod(_)
            | Self::WrongShape { .. }
            | Self::InvalidArgument(_)
            | Self::Unsupported(_)
            | Self::Busy(_)
            | Self::Timeout(_)
            | Self::Disconnected(_)
            | Self::Io { .. }
            | Self::Device(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_are_sorted_by_what_a_caller_can_do() {
        let sorted = |kind| DriverError::io("open /dev/sd", io::Error::from(kind));
        assert!(matches!(sorted(io::ErrorKind::NotFound), DriverError::NotFound(_)));
        assert!(matches!(
            sorted(io::ErrorKind::PermissionDenied),
            DriverError::PermissionDenied(_)
        ));
        assert!(matches!(sorted(io::ErrorKind::TimedOut), DriverError::Timeout(_)));
        assert!(matches!(sorted(io::ErrorKind::ConnectionRefused), DriverError::Disconnected(_)));
        assert!(matches!(sorted(io::ErrorKind::StorageFull), DriverError::Io { .. }));
    }

    #[test]
    fn io_errors_name_what_was_done() {
        let error = DriverError::io("open /dev/sd", io::Error::from_raw_os_error(2));
        assert_eq!(error.to_string(), "open /dev/sd: No such file or directory (os error 2)");
    }
}
