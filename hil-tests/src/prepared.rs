//! What `hil-tests/run` prepared: the virtual environment with the reference, the binaries, and
//! where the summary goes.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The prepared files, shared by all trials.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// `bin` of the virtual environment: `jmp`, `j`, `python`.
    pub(crate) reference: PathBuf,
    /// The same of the oldest client that is supported.
    pub(crate) oldest: PathBuf,
    /// The directory of the `hilt` that cargo built in the profile of this runner.
    pub(crate) built: PathBuf,
    /// The Python modules that the cases use.
    pub(crate) scripts: PathBuf,
    /// Where all that lies that was prepared, and the summary is left.
    directory: PathBuf,
}

/// Where `hil-tests/run` keeps what takes long to make or to fetch: outside of the checkout.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("HOME is set")?).join(".cache"),
    };
    Ok(cache.join("hilt"))
}

impl Prepared {
    /// What belongs to this source tree, whether it is there or not.
    pub(crate) fn of_this_tree() -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory =
            source.parent().context("the crate lies in a workspace")?.join("target/hil-tests");
        // cargo puts test binaries into `deps`, one below the programs.
        let runner = env::current_exe().context("finding this runner")?;
        let built =
            runner.ancestors().nth(2).context("the runner lies in target/PROFILE/deps")?.to_owned();
        Ok(Self {
            reference: directory.join("venv/bin"),
            oldest: directory.join("venv-oldest/bin"),
            built,
            scripts: source.join("scripts"),
            directory,
        })
    }

    /// Insists on the virtual environment: a suite that can't run must not look like one that
    /// passed.
    pub(crate) fn must_be_there(&self) -> Result<()> {
        ensure!(
            self.reference.join("jmp").is_file(),
            "no `jmp` in {}: run hil-tests/run, which installs the reference there first",
            self.reference.display()
        );
        Ok(())
    }

    /// Leaves the result where `hil-tests/run` picks it up.
    pub(crate) fn write_summary(&self, suite: &str, summary: &str) -> Result<()> {
        let file = self.directory.join(format!("summary-{suite}"));
        std::fs::write(file, format!("{summary}\n")).context("writing the summary")
    }
}
