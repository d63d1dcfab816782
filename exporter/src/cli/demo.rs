//! `hilt demo`: the whole story on a virtual bench.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::demo;
use crate::shutdown::{OnHangup, Shutdown, Signals};
use crate::state::StateDir;

/// Show a whole lease on a virtual bench: no hardware, no cluster.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after the lease instead of staying up.
    #[arg(long)]
    once: bool,
    /// The directory to keep the history of hooks in, if not the usual one.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let state = StateDir::of(self.state_dir.as_deref());
        super::runtime()?.block_on(async {
            let signals = Signals::new(OnHangup::Stop).context("can't listen to signals")?;
            let shutdown = Shutdown::default();
            tokio::select! {
                code = demo::run(!self.once, &state, shutdown.clone()) => Ok(ExitCode::from(code?)),
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }
}
