//! The state directory: where everything is kept that outlives a process.
//!
//! ```text
//! STATE/exporters/NAME/store.sqlite3      what the exporter NAME has to know after a restart, and its history
//!                      lock               held while it runs
//!                      hooks/EVENT.log    what its hooks for its own life have printed
//!                      recordings/DRIVER/ what a device has said, where its driver is to record it
//! STATE/lab/                              see `lab::directory`
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, io};

use nix::unistd::Uid;

use crate::config::hooks::LifecycleEvent;

/// A state directory, of as many exporters as run on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// What a state directory has of one exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterDir {
    /// The exporter's name.
    pub exporter: String,
    /// Its part of the state directory.
    pub dir: PathBuf,
}

impl StateDir {
    /// What `--state-dir` says, else the first of `$STATE_DIRECTORY`, which systemd sets for a
    /// service, else `/var/lib/hilt` for root, else `hilt` in `$XDG_STATE_HOME` or `~/.local/state`.
    pub fn of(flag: Option<&Path>) -> Self {
        let home = env::home_dir().unwrap_or_else(|| "/".into());
        Self(choose(flag, |name| env::var_os(name), Uid::effective().is_root(), &home))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The part of one exporter, which may not be there yet. No name leads out of the directory, and
    /// no two names to the same part.
    pub fn of_exporter(&self, name: &str) -> PathBuf {
        self.exporters_dir().join(file_name(name))
    }

    /// The same, with the name.
    pub fn exporter(&self, name: &str) -> ExporterDir {
        ExporterDir { exporter: name.into(), dir: self.of_exporter(name) }
    }

    /// What is there of any exporter, by name.
    ///
    /// # Errors
    ///
    /// If the directory is there but can't be read.
    pub fn exporters(&self) -> io::Result<Vec<ExporterDir>> {
        let entries = match self.exporters_dir().read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let dir = entry?.path();
            // Whatever else lies there was not put there by an exporter.
            if let Some(exporter) = dir.file_name().and_then(exporter_name).filter(|_| dir.is_dir())
            {
                found.push(ExporterDir { exporter, dir });
            }
        }
        found.sort_by(|one, other| one.exporter.cmp(&other.exporter));
        Ok(found)
    }

    fn exporters_dir(&self) -> PathBuf {
        self.0.join("exporters")
    }
}

/// Where, in its part of a state directory, an exporter logs its hooks for an event of its own life.
pub fn hook_log(dir: &Path, event: LifecycleEvent) -> PathBuf {
    hook_logs(dir).join(format!("{}.log", event.word()))
}

/// Where, in its part of a state directory, an exporter's driver keeps what its device says.
pub fn recording(dir: &Path, driver: &str) -> PathBuf {
    dir.join("recordings").join(file_name(driver))
}

/// Where all of these logs are.
pub fn hook_logs(dir: &Path) -> PathBuf {
    dir.join("hooks")
}

fn choose(
    flag: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
    is_root: bool,
    home: &Path,
) -> PathBuf {
    if let Some(flag) = flag {
        return flag.into();
    }
    let service = variable("STATE_DIRECTORY").and_then(|list| env::split_paths(&list).next());
    if let Some(dir) = service.filter(|dir| dir.is_absolute()) {
        return dir;
    }
    if is_root {
        return "/var/lib/hilt".into();
    }
    variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| home.join(".local/state"))
        .join("hilt")
}

/// The name of an exporter as the name of a file: letters, digits, `-`, `_` and inner dots stay, every
/// other byte becomes `%` and two digits.
fn file_name(exporter: &str) -> String {
    let mut file = String::new();
    for (position, byte) in exporter.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => file.push(byte.into()),
            b'.' if position > 0 => file.push('.'),
            // Writing into a string can't fail.
            _ => write!(file, "%{byte:02X}").unwrap_or_default(),
        }
    }
    // No file has an empty name, and no exporter has this one.
    if file.is_empty() { "%".into() } else { file }
}

/// The name of the exporter whose file this is, if it is one's.
fn exporter_name(file: &OsStr) -> Option<String> {
    let file = file.to_str()?;
    let mut bytes = Vec::new();
    let mut parts = file.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts.filter(|_| file != "%") {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|name| file_name(name) == file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_most_particular_wish_decides() {
        let chosen = |flag: Option<&str>, variables: &[(&str, &str)], is_root| {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            choose(flag.map(Path::new), variable, is_root, Path::new("/home/ann"))
        };
        let service = ("STATE_DIRECTORY", "/var/lib/lab:/var/lib/other");
        let user = ("XDG_STATE_HOME", "/home/ann/state");
        let path = Path::new;
        assert_eq!(chosen(Some("here"), &[service, user], true), path("here"));
        assert_eq!(chosen(None, &[service, user], true), path("/var/lib/lab"));
        assert_eq!(chosen(None, &[("STATE_DIRECTORY", "")], true), path("/var/lib/hilt"));
        assert_eq!(chosen(None, &[user], true), path("/var/lib/hilt"));
        assert_eq!(chosen(None, &[user], false), path("/home/ann/state/hilt"));
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(chosen(None, &[relative], false), path("/home/ann/.local/state/hilt"));
        assert_eq!(chosen(None, &[], false), path("/home/ann/.local/state/hilt"));
    }

    #[test]
    fn a_name_becomes_a_file_inside() {
        let state = StateDir("/state".into());
        for (name, file) in [
            ("bench-1.lab", "bench-1.lab"),
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("a b%", "a%20b%25"),
            ("Bär\n", "B%C3%A4r%0A"),
        ] {
            assert_eq!(state.of_exporter(name), Path::new("/state/exporters").join(file));
        }
    }

    proptest! {
        #[test]
        fn a_name_can_be_read_off_its_file(name in any::<String>()) {
            let file = file_name(&name);
            prop_assert!(!file.contains(['/', '\0']) && !matches!(&*file, "" | "." | ".."));
            prop_assert_eq!(exporter_name(OsStr::new(&file)), Some(name));
        }
    }

    #[test]
    fn exporters_are_listed_by_name() {
        let dir = TempDir::new().unwrap();
        let state = StateDir(dir.path().join("state"));
        assert_eq!(state.exporters().unwrap(), []);
        for name in ["b/2", "a"] {
            fs::create_dir_all(state.of_exporter(name)).unwrap();
        }
        for stray in ["x%", "x%zz", "y z", "%41", "%FF"] {
            fs::create_dir_all(state.exporters_dir().join(stray)).unwrap();
        }
        fs::write(state.exporters_dir().join("README"), "").unwrap();
        let found: Vec<_> =
            state.exporters().unwrap().into_iter().map(|one| one.exporter).collect();
        assert_eq!(found, ["a", "b/2"]);
    }
}
