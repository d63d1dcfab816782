//! `hilt demo`: the whole story on a virtual bench.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::demo;
use crate::shutdown::{Shutdown, Signals};

/// Show a whole lease on a virtual bench: no hardware, no cluster.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after the lease instead of staying up.
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        super::runtime()?.block_on(async {
            let signals = Signals::new().context("can't listen to signals")?;
            let shutdown = Shutdown::default();
            tokio::select! {
                code = demo::run(!self.once, None, shutdown.clone()) => Ok(ExitCode::from(code?)),
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })
    }
}
