//! How images travel: in chunks that are one frame of HTTP/2 each, and on Unix sockets with room for several.

use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// How long a frame of HTTP/2 may be, in bytes: a message with a chunk of an image in one piece. HTTP/2's
/// default of 16 KiB costs a system call each.
pub(crate) const LONGEST_FRAME: u32 = 257 << 10;

/// What such a message has around the chunk, at most.
const AROUND: usize = 1 << 10;

/// How much of an image is sent in one message, in bytes. The protocol's peers take up to 4 MiB; with
/// more than this nothing gets faster.
pub(crate) const CHUNK: usize = LONGEST_FRAME as usize - AROUND;

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
