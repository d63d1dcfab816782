//! Paths as clients write them.

use std::fmt;

use crate::{DriverError, Result};

/// A path below the root of a storage.
///
/// Clients write it relative to the root or with a slash in front, which means the same. A slash at
/// the end says that a directory is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoragePath {
    /// Names, with single slashes in between.
    names: String,
    directory: bool,
}

impl StoragePath {
    /// Reads a path as a client writes it.
    ///
    /// # Errors
    ///
    /// [`DriverError::InvalidArgument`] if it climbs above the root. That a link leads out shows
    /// only on the disk.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut names = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop().ok_or_else(|| outside(text))?;
                }
                name => names.push(name),
            }
        }
        let last = text.rsplit('/').next().unwrap_or_default();
        let directory = names.is_empty() || matches!(last, "" | "." | "..");
        Ok(Self { names: names.join("/"), directory })
    }

    /// The path of an entry of this directory.
    pub(super) fn entry(&self, name: &str, directory: bool) -> Self {
        let names = if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.names) };
        Self { names, directory }
    }

    /// The directory that the path's last name is in, and that name; none for the root.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = self.names.rsplit_once('/').unwrap_or(("", &self.names));
        Some((Self { names: parent.to_owned(), directory: true }, name))
    }

    /// Whether this is the root itself.
    pub(super) const fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether only a directory can be meant.
    pub(super) const fn is_directory(&self) -> bool {
        self.directory
    }

    /// The path without slashes around it; empty for the root.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// The path as the file system takes it, seen from the root.
    pub(super) fn relative(&self) -> &str {
        if self.is_root() { "." } else { &self.names }
    }
}

/// As clients see it in listings and errors: the root is `/`, directories end in a slash.
impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names)?;
        f.write_str(if self.directory { "/" } else { "" })
    }
}

/// The error for a path that leads out of the root.
pub(super) fn outside(path: impl fmt::Display) -> DriverError {
    DriverError::InvalidArgument(format!("path '{path}' leads out of the storage's root directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_dots_are_tidied() {
        for (text, display, relative) in [
            ("", "/", "."),
            ("/", "/", "."),
            (".", "/", "."),
            ("a/..", "/", "."),
            ("a", "a", "a"),
            ("a/", "a/", "a"),
            ("/a//b/./c", "a/b/c", "a/b/c"),
            ("a/b/../c/", "a/c/", "a/c"),
            ("a/.", "a/", "a"),
            ("a/b/..", "a/", "a"),
            ("a\\b", "a\\b", "a\\b"),
            ("..a/b..", "..a/b..", "..a/b.."),
        ] {
            let path = StoragePath::parse(text).unwrap();
            assert_eq!(path.to_string(), display, "{text}");
            assert_eq!(path.relative(), relative, "{text}");
        }
    }

    #[test]
    fn nothing_climbs_above_the_root() {
        for text in ["..", "../", "/..", "a/../..", "a/../../a", "./..", "../../etc/passwd", "//.."]
        {
            assert_eq!(
                StoragePath::parse(text).unwrap_err().to_string(),
                format!("path '{text}' leads out of the storage's root directory")
            );
        }
    }

    #[test]
    fn paths_are_put_together_and_taken_apart() {
        let root = StoragePath::parse("/").unwrap();
        assert!(root.split().is_none());
        let file = root.entry("a", true).entry("b", false);
        assert_eq!(file.to_string(), "a/b");
        let (parent, name) = file.split().unwrap();
        assert_eq!((parent.to_string().as_str(), name), ("a/", "b"));
        let (parent, name) = parent.split().unwrap();
        assert_eq!((parent.to_string().as_str(), name), ("/", "a"));
    }
}
