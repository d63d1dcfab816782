//! What a bench needs of the machine, and whether the machine has it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Uid;

use super::TRIAL;
use super::description::{Content, Description, Place};
use super::rig::preload;

/// What a bench needs of the machine. Asked only once somebody wants to know.
#[derive(Debug)]
pub(crate) struct Tier {
    place: Place,
    has_board: bool,
    missing: OnceLock<Option<String>>,
}

/// Whether a missing tier is a failure.
pub(crate) fn is_required() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

impl Tier {
    pub(crate) fn of(bench: &Description) -> Self {
        let Content { place, board, .. } = &bench.content;
        Self { place: *place, has_board: board.is_some(), missing: OnceLock::new() }
    }

    /// What this machine lacks, if it does.
    pub(crate) fn missing(&self) -> Option<String> {
        self.missing.get_or_init(|| self.look().err().map(|error| format!("{error:#}"))).clone()
    }

    fn look(&self) -> Result<()> {
        match self.place {
            Place::Lab => {}
            Place::Sim => {
                preload()?;
                ensure!(Uid::effective().is_root(), "sim: only root may have loop devices");
            }
            Place::Kernel => Runner.start(&["true"], None).context("no kernel for the benches")?,
        }
        if self.has_board && self.place == Place::Kernel {
            crate::emulator::firmware().context("no board: run hil-tests/run, which fetches it")?;
        }
        Ok(())
    }

    /// What runs its trials; none if that is this program.
    pub(crate) const fn runner(&self) -> Option<Runner> {
        match self.place {
            Place::Kernel => Some(Runner),
            Place::Sim | Place::Lab => None,
        }
    }
}

/// `hil-tests/kernel/run`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner;

impl Runner {
    /// Runs one trial in a kernel of its own.
    pub(crate) fn run(self, trial: &str) -> Result<()> {
        let program = env::current_exe().context("finding this program")?;
        let program = program.to_str().context("the path of this program is no text")?;
        self.start(&[program], Some(trial))
    }

    fn start(self, arguments: &[&str], trial: Option<&str>) -> Result<()> {
        let mut command = Command::new(runner());
        // A board has a gigabyte.
        command.args(arguments).env("KERNEL_MEMORY", "2G").env("KERNEL_TIMEOUT", "600");
        command.env("RUST_BACKTRACE", "0");
        if let Some(trial) = trial {
            command.env(TRIAL, trial);
        }
        let output =
            command.stdin(Stdio::null()).output().context("starting hil-tests/kernel/run")?;
        if !output.status.success() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            bail!("{}{}", text(&output.stdout), text(&output.stderr));
        }
        Ok(())
    }
}

fn runner() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/run")
}
