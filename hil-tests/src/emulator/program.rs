//! A program of the host that knows how to use a switch: on, off, and where it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::device::Mood;

/// What it does with its first argument: the position is in a file, as a relay keeps it, and it answers
/// as another file says.
const SCRIPT: &str = r#"
cd "$(dirname "$0")" || exit
case $1 in
    on | off) echo "$1" > position ;;
    status) ;;
    *) echo "usage: switch on|off|status" >&2; exit 2 ;;
esac
case $(cat mood) in
    well) [ "$1" != status ] || cat position ;;
    garbage) echo '~!' ;;
    half) echo o ;;
    silent) exec sleep 1000 ;;
esac
"#;

/// A program and its switch, which is off.
#[derive(Debug)]
pub(crate) struct Program {
    directory: TempDir,
}

impl Program {
    pub(crate) fn new() -> Result<Self> {
        let program = Self { directory: tempfile::tempdir().context("a directory")? };
        for (name, content) in [("switch", SCRIPT), ("position", "off\n"), ("mood", "well\n")] {
            fs::write(program.directory.path().join(name), content).context(name)?;
        }
        Ok(program)
    }

    /// Where it is, for a shell to read.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("switch")
    }

    pub(crate) fn is_on(&self) -> Result<bool> {
        let position = fs::read_to_string(self.directory.path().join("position"));
        Ok(position.context("the position of a switch")?.trim() == "on")
    }

    /// From now on it answers like this.
    pub(crate) fn answer(&self, mood: Mood) {
        let word = match mood {
            Mood::Well => "well",
            Mood::Garbage => "garbage",
            Mood::HalfReport => "half",
            Mood::Silent => "silent",
        };
        // If that is impossible, it answers well, and the case says that it should not.
        fs::write(self.directory.path().join("mood"), word).ok();
    }
}
