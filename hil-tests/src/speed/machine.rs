//! What the figures were measured on, and with.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, ensure};

use crate::prepared::Prepared;

/// The machine and the programs.
#[derive(Debug)]
pub(super) struct Machine {
    processor: String,
    processors: usize,
    memory: String,
    kernel: String,
    rustc: String,
    python: String,
    commit: String,
}

impl Machine {
    /// Describes this machine and this source tree.
    pub(super) fn of_this_run(prepared: &Prepared) -> Result<Self> {
        Ok(Self {
            processor: value("/proc/cpuinfo", "model name")?,
            processors: available_parallelism().context("counting the processors")?.get(),
            memory: value("/proc/meminfo", "MemTotal")?,
            kernel: kernel(&fs::read_to_string("/proc/sys/kernel/osrelease")?),
            rustc: output(Command::new("rustc").arg("--version"))?,
            python: output(Command::new(prepared.reference.join("python")).arg("--version"))?,
            commit: commit()?,
        })
    }
}

/// The version without what its builder added.
fn kernel(release: &str) -> String {
    release.trim().split('-').next().unwrap_or_default().to_owned()
}

/// The commit, and whether it is all of it.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        output(Command::new("git").arg("-C").arg(source).args(arguments))
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if changed { format!("{commit}, with changes") } else { commit })
}

/// The value in the line `NAME: VALUE` of a file.
fn value(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    // Not every architecture has every line.
    Ok(value.unwrap_or_else(|| "unknown".to_owned()))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "- {} × {}, {} of memory", self.processors, self.processor, self.memory)?;
        writeln!(f, "- Linux {}", self.kernel)?;
        writeln!(f, "- {}, release profile", self.rustc)?;
        writeln!(f, "- {}, with the packages of `hil-tests/requirements.txt`", self.python)?;
        writeln!(f, "- commit {}", self.commit)
    }
}
