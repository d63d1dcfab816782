//! Waiting for file descriptors without a thread and without polling.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;

/// Makes a file descriptor non-blocking and registers it with the runtime that this is called in.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    #[expect(unsafe_code, reason = "the runtime can't check what it is promised here")]
    // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives, and it
    // lives as long as the `AsyncFd`: nothing in this crate replaces it there.
    let registered = unsafe { AsyncFd::register(fd) };
    registered.map_err(|error| error.into_parts().1)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write as _};

    use super::*;

    #[tokio::test]
    async fn readiness_is_noticed() {
        let (reader, mut writer): (_, PipeWriter) = io::pipe().unwrap();
        let reader = watch(reader.into()).unwrap();
        let mut buffer = [0; 8];
        let blocked = nix::unistd::read(reader.get_ref(), &mut buffer);
        assert_eq!(blocked, Err(nix::errno::Errno::EAGAIN));
        writer.write_all(b"x").unwrap();
        reader.readable().await.unwrap().retain_ready();
        assert_eq!(nix::unistd::read(reader.get_ref(), &mut buffer), Ok(1));
    }
}
