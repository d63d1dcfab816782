//! By which name a client calls.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Refusal;

/// Lets through who calls by a name of the loopback interface.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_local) {
        next.run(request).await
    } else {
        let error = "call it localhost, or listen on another address with --web HOST:PORT";
        Refusal(StatusCode::FORBIDDEN, error.into()).into_response()
    }
}

/// Whether a `Host` header, with or without a port, names the loopback interface.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_names_of_the_loopback_interface_are_local() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:1"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["", ":80", "evil.example", "localhost.evil.example:80", "localhost:80:x", "::1"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
