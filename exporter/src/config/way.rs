//! The way to a file, as the kernel goes it.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

/// How many links a way may have before it counts as endless, as in the kernel.
const MOST_LINKS: usize = 40;

/// Shows `visit` every place on the way to a file, from the top: directories, links with what they
/// lead to, and at last the file itself.
///
/// # Errors
///
/// The way ends somewhere, or nowhere. The place that isn't there was shown, without metadata.
pub(super) fn walk<B>(
    file: &Path,
    mut visit: impl FnMut(&Path, Option<&Metadata>) -> ControlFlow<B>,
) -> io::Result<Option<B>> {
    let mut ahead = steps(&std::path::absolute(file)?);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        match Path::new(&step).components().next() {
            Some(Component::ParentDir) => {
                at.pop();
                continue;
            }
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(_) | None => at.push(&step),
        }
        let found = fs::symlink_metadata(&at);
        if let ControlFlow::Break(end) = visit(&at, found.as_ref().ok()) {
            return Ok(Some(end));
        }
        if found?.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::ELOOP.into());
            }
            ahead.extend(steps(&fs::read_link(&at)?));
            at.pop();
        }
    }
    Ok(None)
}

/// The parts of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    steps.map(|step| step.as_os_str().to_owned()).rev().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_where_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir(top.join("real")).unwrap();
        symlink("real/../real", top.join("link")).unwrap();
        let mut seen = Vec::new();
        let end = walk(&top.join("link/./file"), |place, metadata| {
            if let Ok(place) = place.strip_prefix(&top) {
                seen.push((place.display().to_string(), metadata.is_some()));
            }
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::NotFound);
        let expected =
            [("", true), ("link", true), ("real", true), ("real", true), ("real/file", false)];
        assert_eq!(seen, expected.map(|(place, there)| (place.to_owned(), there)));
    }
}
