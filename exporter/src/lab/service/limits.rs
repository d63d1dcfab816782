//! What is too large, in the controller's code: its library calls it exhausted, and ours out of
//! range.

use axum::http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

/// The status that says that a message was too large, as the controller's.
pub fn in_the_controllers_code(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(status.message()),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => status,
    }
}

/// The same for the headers of an answer that has nothing else.
pub fn mend(headers: &mut HeaderMap) {
    let out_of_range = (Code::OutOfRange as i32).to_string();
    let exhausted = HeaderValue::from(Code::ResourceExhausted as i32);
    if headers.get("grpc-status").is_some_and(|code| code.as_bytes() == out_of_range.as_bytes()) {
        headers.insert("grpc-status", exhausted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_large_is_told_otherwise() {
        let mut headers = HeaderMap::new();
        for (before, after) in [("11", "8"), ("2", "2"), ("0", "0")] {
            headers.insert("grpc-status", HeaderValue::from_static(before));
            mend(&mut headers);
            assert_eq!(headers["grpc-status"], after);
        }
        let status = in_the_controllers_code(Status::out_of_range("too large"));
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "too large"));
    }
}
