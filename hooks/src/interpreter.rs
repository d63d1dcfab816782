//! Whether an interpreter can be run, before it is.
//!
//! The kernel's own errors would not say what to do: the one for a script whose interpreter is
//! missing is that the script is missing. So it is checked first.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::outcome::StartError;

/// Finds the interpreter `program`, by `search_path` if it is a bare name, and checks that the
/// kernel can execute it.
pub(crate) fn check(
    program: &OsStr,
    search_path: Option<&OsStr>,
    workdir: &Path,
) -> Result<(), StartError> {
    let problem = match find(program, search_path, workdir) {
        Some(path) => problem_of(&path),
        None if program.as_bytes().contains(&b'/') => {
            Some("does not exist; install it or correct `exec`".to_owned())
        }
        None => Some("is not in PATH; install it or give its full path in `exec`".to_owned()),
    };
    match problem {
        None => Ok(()),
        Some(problem) => Err(StartError::Interpreter {
            program: program.to_string_lossy().into_owned(),
            problem,
        }),
    }
}

fn find(program: &OsStr, search_path: Option<&OsStr>, workdir: &Path) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(workdir.join(program)).filter(|path| path.exists());
    }
    std::env::split_paths(search_path?)
        .map(|directory| workdir.join(directory).join(program))
        .find(|path| path.is_file())
}

fn problem_of(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some("is a directory; name a program in `exec`".into());
    }
    if access(path, AccessFlags::X_OK).is_err() {
        return Some("is not executable; make it so with chmod +x".into());
    }
    // What is executable but not readable is the kernel's to judge.
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(256).read_to_end(&mut head)).ok()?;
    match Format::of(&head) {
        Format::Program => None,
        Format::Script(interpreter) if Path::new(&interpreter).exists() => None,
        Format::Script(interpreter) => {
            Some(format!("is a script for '{interpreter}', which does not exist"))
        }
        Format::Unknown if foreign_formats() => None,
        Format::Unknown => {
            Some("has an unknown format: neither a program of this machine nor a #! script".into())
        }
    }
}

/// What the first bytes of an executable file say about it.
#[derive(Debug, PartialEq, Eq)]
enum Format {
    Program,
    Script(String),
    Unknown,
}

impl Format {
    fn of(head: &[u8]) -> Self {
        if head.starts_with(b"\x7fELF") {
            return Self::Program;
        }
        let Some(line) = head.strip_prefix(b"#!") else { return Self::Unknown };
        let line =
            String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or(line));
        match line.split_ascii_whitespace().next() {
            Some(interpreter) => Self::Script(interpreter.to_owned()),
            None => Self::Unknown,
        }
    }
}

/// Whether this kernel has been taught formats of its own (`binfmt_misc`), such as programs of
/// other machines.
fn foreign_formats() -> bool {
    let Ok(entries) = fs::read_dir("/proc/sys/fs/binfmt_misc") else { return false };
    entries.flatten().any(|entry| entry.file_name() != "register" && entry.file_name() != "status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_format() {
        assert_eq!(Format::of(b"\x7fELF\x02\x01"), Format::Program);
        assert_eq!(Format::of(b"#!/bin/sh\nexit"), Format::Script("/bin/sh".into()));
        assert_eq!(Format::of(b"#! /usr/bin/env python3"), Format::Script("/usr/bin/env".into()));
        assert_eq!(Format::of(b"#!\n"), Format::Unknown);
        assert_eq!(Format::of(b"echo hello"), Format::Unknown);
        assert_eq!(Format::of(b""), Format::Unknown);
    }
}
