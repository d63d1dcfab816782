//! `hilt hooks test`: a hook, run for its author.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use hooks::Stop;

use crate::app;
use crate::cli::source::Source;
use crate::lifecycle::rehearsal;
use crate::session::log::{Record, Severity};
use crate::shutdown::{OnHangup, Shutdown, Signals};
use crate::store::HookEvent;

/// Run the hooks of an event on the real bench, without a lease.
///
/// Prints what a client would see, each line with the seconds since the start. The driver hooks of a
/// stage run for every driver that has one. Nothing is put on record. Exits with 1 if a hook fails.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The event: beforeLease, afterLease, stop, preemption, down, repair, or a driver's stage, such
    /// as preInstall.
    #[arg(value_parser = event)]
    event: HookEvent,
    #[command(flatten)]
    source: Source,
    /// What the hook is told of its client.
    #[arg(long, value_name = "NAME", default_value = "rehearsal")]
    client: String,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, file) = self.source.load()?;
        if !rehearsal::is_there(&config, self.event) {
            bail!("{} has no {} hook", file.display(), self.event.word());
        }
        let passed = crate::cli::runtime()?.block_on(async {
            let signals = Signals::new(OnHangup::Stop).context("can't listen to signals")?;
            let shutdown = Shutdown::default();
            let stop = Stop { asked: shutdown.drain.clone(), killed: shutdown.abort.clone() };
            tokio::select! {
                passed = app::rehearse(&config, self.event, &self.client, &stop, print) => passed,
                never = signals.watch(shutdown.clone()) => match never {},
            }
        })?;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn event(word: &str) -> Result<HookEvent, String> {
    HookEvent::of_word(word).ok_or_else(|| {
        let words = HookEvent::ALL.map(HookEvent::word).join(", ");
        format!("there is no such event; write one of {words}")
    })
}

/// Prints a record `seconds` after the start.
fn print(seconds: f64, record: &Record) {
    let severity = match record.severity {
        Severity::Debug | Severity::Info => String::new(),
        Severity::Warning | Severity::Error => format!("{}: ", record.severity),
    };
    // Whoever no longer reads still wants the hook to come to its end.
    writeln!(io::stdout(), "{seconds:9.3}  {severity}{}", record.message).ok();
}
