//! `hilt shell`: a bench for local use, without a lease.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::source::Source;
use crate::app::Local;

/// Open a bench and run a command, or a shell, that can use it with `j`.
///
/// There is no lease and no hook. Exits with the command's status.
#[derive(Debug, Args)]
pub(super) struct Shell {
    #[command(flatten)]
    source: Source,
    /// The command; without one, an interactive shell.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Shell {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (config, _) = self.source.load()?;
        super::runtime()?.block_on(async {
            // The terminal sends SIGINT to the command as well, and it is the command's to handle.
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            // Without its terminal, the command ends; only then are the devices closed.
            let mut hangup = signal(SignalKind::hangup())?;
            let bench = Local::open(&config).await?;
            let mut child = self.start(&bench.socket(), &bench.programs())?;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => pass_on(&child, Signal::SIGTERM),
                    _ = hangup.recv() => pass_on(&child, Signal::SIGHUP),
                }
            };
            bench.close().await;
            Ok(exit_code(status))
        })
    }

    fn start(&self, socket: &Path, programs: &Path) -> anyhow::Result<Child> {
        let mut command = match self.command.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            None => interactive(),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        let path =
            env::join_paths(std::iter::once(programs.to_owned()).chain(env::split_paths(&path)))?;
        command
            .env("PATH", path)
            .env("JUMPSTARTER_HOST", socket)
            .env("JMP_DRIVERS_ALLOW", "UNSAFE")
            // The Python client would warn about every driver that it has no class for.
            .env("_JMP_SUPPRESS_DRIVER_WARNINGS", "1")
            .kill_on_drop(true);
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        command.spawn().with_context(|| format!("can't run '{name}'"))
    }
}

/// The user's shell, with a prompt that shows that it is not an ordinary one.
fn interactive() -> Command {
    let shell = env::var_os("SHELL").unwrap_or_else(|| "bash".into());
    let mut command = Command::new(&shell);
    let name = Path::new(&shell).file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    match &*name {
        "bash" => command.args(["--norc", "--noprofile"]).env("PS1", r"\W ⚡local ➤ "),
        "zsh" => command.arg("--no-rcs").env("PS1", "%1~ ⚡local ➤ "),
        _ => &mut command,
    };
    command
}

fn pass_on(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It has not been reaped, so the id is still its own.
        kill(Pid::from_raw(pid), signal).ok();
    }
}

/// The command's own exit code, or what a shell would make of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
