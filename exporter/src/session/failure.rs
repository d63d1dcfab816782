//! Driver errors as gRPC statuses.

use drivers::DriverError;
use tonic::{Code, Status};

/// The longest message, in bytes as they go over the wire. Python clients refuse a response whose
/// metadata are longer than 8 KiB, and then lose the message altogether.
const LONGEST_MESSAGE: usize = 6 * 1024;

/// What a client is told of a driver's failure.
pub fn status_of(error: &DriverError) -> Status {
    let code = match error {
        DriverError::NoSuchMethod(_) | DriverError::WrongShape { .. } => Code::NotFound,
        DriverError::InvalidArgument(_) => Code::InvalidArgument,
        DriverError::Unsupported(_) => Code::Unimplemented,
        DriverError::Timeout(_) => Code::DeadlineExceeded,
        DriverError::Disconnected(_) => Code::Unavailable,
        DriverError::NotFound(_)
        | DriverError::PermissionDenied(_)
        | DriverError::Busy(_)
        | DriverError::Io { .. } => Code::Internal,
        DriverError::Device(_) => Code::Unknown,
    };
    Status::new(code, shortened(&error.to_string()))
}

/// The name that log records give to a kind of failure.
pub fn kind_of(error: &DriverError) -> &'static str {
    match error {
        DriverError::NoSuchMethod(_)
        | DriverError::WrongShape { .. }
        | DriverError::Unsupported(_) => "not_implemented",
        DriverError::InvalidArgument(_) => "validation_error",
        DriverError::Timeout(_) => "timeout",
        DriverError::Disconnected(_) => "connection_error",
        DriverError::NotFound(_)
        | DriverError::PermissionDenied(_)
        | DriverError::Busy(_)
        | DriverError::Io { .. } => "device_error",
        DriverError::Device(_) => "internal_error",
    }
}

/// The message without what is too long for the wire, where bytes that are not printable ASCII
/// take three.
fn shortened(message: &str) -> String {
    let mut room = LONGEST_MESSAGE;
    for (index, character) in message.char_indices() {
        let bytes = character.len_utf8();
        let cost =
            if matches!(character, ' '..='~') && character != '%' { bytes } else { 3 * bytes };
        match room.checked_sub(cost) {
            Some(left) => room = left,
            None => return format!("{}... ({} bytes in all)", &message[..index], message.len()),
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_category_has_its_code() {
        let code = |error: DriverError| status_of(&error).code();
        let text = String::new;
        assert_eq!(code(DriverError::NoSuchMethod(text())), Code::NotFound);
        let marker = "marker_drivercall";
        assert_eq!(code(DriverError::WrongShape { method: text(), marker }), Code::NotFound);
        assert_eq!(code(DriverError::InvalidArgument(text())), Code::InvalidArgument);
        assert_eq!(code(DriverError::Unsupported(text())), Code::Unimplemented);
        assert_eq!(code(DriverError::Timeout(text())), Code::DeadlineExceeded);
        assert_eq!(code(DriverError::Disconnected(text())), Code::Unavailable);
        assert_eq!(code(DriverError::NotFound(text())), Code::Internal);
        assert_eq!(code(DriverError::PermissionDenied(text())), Code::Internal);
        assert_eq!(code(DriverError::Busy(text())), Code::Internal);
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(code(DriverError::Io { context: text(), source }), Code::Internal);
        assert_eq!(code(DriverError::Device(text())), Code::Unknown);
    }

    #[test]
    fn a_long_message_is_cut_to_what_the_wire_can_carry() {
        let long = "x".repeat(20 * 1024);
        let message = status_of(&DriverError::Device(long)).message().to_owned();
        assert!(message.len() < LONGEST_MESSAGE + 64);
        assert!(message.ends_with("... (20480 bytes in all)"));

        let wide = "é".repeat(20 * 1024);
        let message = status_of(&DriverError::Device(wide)).message().to_owned();
        assert!(message.len() <= LONGEST_MESSAGE / 3 + 64);
    }
}
