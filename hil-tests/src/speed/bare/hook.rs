//! Hooks of the bare server: a shell with a pipe for its output.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use exporter::config::hooks::LeaseHook;
use exporter::config::{Environment, Hooks, load};
use exporter::wire::{LogSource, LogStreamResponse};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tonic::Status;

/// The hooks of a configuration.
pub(super) fn hooks(config: &Path) -> Result<Hooks> {
    let loaded = load(config, &Environment::of_process()).map_err(anyhow::Error::msg)?;
    Ok(loaded.config.hooks)
}

/// Runs a hook whose output nobody hears.
pub(super) async fn run(hook: &LeaseHook) -> Result<()> {
    shell(hook).status().await.context("running the hook")?;
    Ok(())
}

/// Runs a hook and passes on what it prints.
pub(super) async fn tell(
    hook: LeaseHook,
    lines: mpsc::Sender<Result<LogStreamResponse, Status>>,
) -> Result<()> {
    let mut hook = shell(&hook).stdout(Stdio::piped()).spawn().context("starting the hook")?;
    let output = hook.stdout.take().context("the output was piped")?;
    let mut output = BufReader::with_capacity(16 * 1024, output).lines();
    while let Some(message) = output.next_line().await? {
        let source = Some(LogSource::BeforeLeaseHook.into());
        lines.send(Ok(LogStreamResponse { message, source, ..Default::default() })).await?;
    }
    hook.wait().await?;
    Ok(())
}

fn shell(hook: &LeaseHook) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(&hook.script.text).kill_on_drop(true);
    command
}
