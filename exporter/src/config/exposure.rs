//! Who else may change a file.
//!
//! Hooks run with the exporter's rights, so whoever can change a configuration or a script has
//! them, too. A file is safe if it, and every directory and link on the way to it, can be changed by
//! nobody but root and the exporter's user.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::way;

/// Why a file is not safe from others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exposure {
    /// What is wrong, with the path and the mode of the place that is open to others.
    pub(super) message: String,
    /// What would be right.
    pub(super) hint: String,
}

/// How a file can be changed by others; none if it can't. `own` is the exporter's user.
pub(super) fn of_file(file: &Path, own: u32) -> Option<Exposure> {
    match search(file, own) {
        Ok(exposure) => exposure,
        Err(error) => Some(Exposure {
            message: format!(
                "`{}` can't be checked for who may change it: {error}",
                file.display()
            ),
            hint: "make every directory on its way readable".into(),
        }),
    }
}

/// Looks at every place on the way to a file.
fn search(file: &Path, own: u32) -> io::Result<Option<Exposure>> {
    way::walk(file, |at, found| {
        let Some(found) = found else { return ControlFlow::Continue(()) };
        let kind = if found.is_symlink() {
            Kind::Link
        } else if found.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        };
        let place = Place { kind, owner: found.uid(), mode: found.permissions().mode() & 0o7777 };
        match place.fault(own) {
            Some(fault) if !is_read_only(at) => ControlFlow::Break(fault.at(at, place)),
            Some(_) | None => ControlFlow::Continue(()),
        }
    })
}

/// Nobody can change what is mounted read-only, whatever its mode; so are the volumes of
/// Kubernetes.
fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
}

/// What matters of a file, a directory or a link.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    owner: u32,
    mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// It belongs to somebody else.
    Owner,
    /// Others than its owner may write.
    Mode,
}

impl Place {
    fn fault(self, own: u32) -> Option<Fault> {
        const STICKY: u32 = 0o1000;
        let is_open = match self.kind {
            // Nobody can write into a link; its mode says nothing.
            Kind::Link => false,
            // In a sticky directory others can add files, but only owners can replace theirs.
            Kind::Directory => self.mode & 0o022 != 0 && self.mode & STICKY == 0,
            Kind::File => self.mode & 0o022 != 0,
        };
        if self.owner != 0 && self.owner != own {
            Some(Fault::Owner)
        } else if is_open {
            Some(Fault::Mode)
        } else {
            None
        }
    }
}

impl Fault {
    fn at(self, path: &Path, place: Place) -> Exposure {
        let (path, Place { owner, mode, .. }) = (path.display(), place);
        let (message, mend) = match self {
            Self::Owner => (
                format!("`{path}` belongs to user {owner} (mode {mode:04o}), who may change it"),
                "give it to root or to the exporter's user with `chown`".to_owned(),
            ),
            Self::Mode => (
                format!("`{path}` can be changed by others than its owner (mode {mode:04o})"),
                format!("use `chmod go-w {path}`"),
            ),
        };
        let hint = format!("{mend}, or set `allowWritableConfig: true`");
        Exposure { message, hint }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::unistd::geteuid;

    use super::*;

    #[test]
    fn owners_and_modes_decide() {
        const OWN: u32 = 1000;
        for (kind, owner, mode, expected) in [
            (Kind::File, 0, 0o644, None),
            (Kind::File, OWN, 0o600, None),
            (Kind::File, OWN, 0o664, Some(Fault::Mode)),
            (Kind::File, 0, 0o602, Some(Fault::Mode)),
            (Kind::File, 1001, 0o400, Some(Fault::Owner)),
            (Kind::File, OWN, 0o1666, Some(Fault::Mode)),
            (Kind::Directory, 0, 0o755, None),
            (Kind::Directory, 0, 0o1777, None),
            (Kind::Directory, 1001, 0o1777, Some(Fault::Owner)),
            (Kind::Directory, OWN, 0o775, Some(Fault::Mode)),
            (Kind::Link, OWN, 0o777, None),
            (Kind::Link, 1001, 0o777, Some(Fault::Owner)),
        ] {
            let place = Place { kind, owner, mode };
            assert_eq!(place.fault(OWN), expected, "{place:?}");
        }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn exposure(path: &Path) -> Option<String> {
        of_file(path, geteuid().as_raw()).map(|exposure| exposure.message)
    }

    #[test]
    fn every_place_on_the_way_counts() {
        let directory = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(directory.path()).unwrap();
        let (real, file) = (top.join("real"), top.join("real/hook.sh"));
        fs::create_dir(&real).unwrap();
        fs::write(&file, "true").unwrap();
        let (link, link_of_link) = (top.join("link"), top.join("open/link"));
        symlink("real/../real", &link).unwrap();
        fs::create_dir(top.join("open")).unwrap();
        symlink(&link, &link_of_link).unwrap();
        mode(&file, 0o600);
        mode(&real, 0o700);
        assert_eq!(exposure(&file), None);
        assert_eq!(exposure(&link.join("./hook.sh")), None);

        let open = |path: &Path, mode: &str| {
            let path = path.display();
            Some(format!("`{path}` can be changed by others than its owner (mode {mode})"))
        };
        mode(&top.join("open"), 0o777);
        assert_eq!(exposure(&link_of_link.join("hook.sh")), open(&top.join("open"), "0777"));
        mode(&real, 0o770);
        assert_eq!(exposure(&link.join("hook.sh")), open(&real, "0770"));
        mode(&real, 0o1777);
        assert_eq!(exposure(&file), None);
        mode(&file, 0o606);
        assert_eq!(exposure(&link.join("hook.sh")), open(&file, "0606"));
    }

    #[test]
    fn a_way_that_ends_nowhere_is_not_safe() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("link", &link).unwrap();
        assert!(exposure(&link).unwrap().contains("symbolic links"));
        assert!(exposure(&directory.path().join("missing")).unwrap().contains("No such file"));
    }
}
