//! The message of the day that a beforeLease hook may leave in a file.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

/// The most that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What a hook has written into the file; none if that is nothing, or not a regular file.
pub(super) fn read(file: &Path) -> Option<String> {
    // Not blocking, or a hook could stop the exporter by leaving a pipe there.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(file).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content).ok()?;
    let text = String::from_utf8_lossy(&content).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_text_in_a_regular_file_is_a_message() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("motd");
        assert_eq!(read(&file), None);
        fs::write(&file, "  \n").unwrap();
        assert_eq!(read(&file), None);
        fs::write(&file, b"\nhello\xff\n\n").unwrap();
        assert_eq!(read(&file), Some("hello\u{fffd}".into()));
        fs::write(&file, "x".repeat(100_000)).unwrap();
        assert_eq!(read(&file).unwrap().len(), 65536);

        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&file), None);
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert_eq!(read(&file), None);
    }
}
