//! Room on Unix sockets, for images that are flashed from hooks.

use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// What may be on its way in one direction, in bytes. With what Linux gives by itself, both ends wait
/// for each other every 200 KB: an image takes a quarter longer. TCP's grow by themselves.
const ROOM: usize = 2 << 20;

/// Lets a process send this much before the other end has taken it, or what the system allows
/// (`net.core.wmem_max`, which root may exceed).
pub(crate) fn make_room(socket: &impl AsFd) {
    if setsockopt(socket, sockopt::SndBufForce, &ROOM).is_err() {
        // It works with less.
        setsockopt(socket, sockopt::SndBuf, &ROOM).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn there_is_more_than_by_itself() {
        let (one, _other) = UnixStream::pair().unwrap();
        let before = getsockopt(&one, sockopt::SndBuf).unwrap();
        make_room(&one);
        let after = getsockopt(&one, sockopt::SndBuf).unwrap();
        assert!(after > before, "{before} and then {after}");
    }
}
