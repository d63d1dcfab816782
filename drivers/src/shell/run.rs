//! One script, from its start to the end of everything that it started.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::unistd::Pid;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::config::Seconds;
use super::output::Output;
use super::process::{Family, MARK};
use super::python;
use crate::{DriverError, Result};

/// What to run.
#[derive(Debug)]
pub(crate) struct Script {
    /// The name that it was called by.
    pub(crate) method: String,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Variables on top of the exporter's own.
    pub(crate) env: Vec<(String, String)>,
    /// The working directory; none is the exporter's own.
    pub(crate) cwd: Option<String>,
    /// How long it may run.
    pub(crate) timeout: Seconds,
}

/// A running script. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Run {
    id: Uuid,
    script: Script,
    family: Family,
    output: Output,
}

/// The item's third part if a script is out of time, in place of a return code.
const TIMED_OUT: i32 = 199;

/// Why a script is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this return code.
    Done(i32),
    /// It ran out of time.
    TimedOut,
    /// Its client has gone.
    Abandoned,
    /// The driver is being closed.
    Stopped,
}

impl Run {
    /// Starts the script in a session of its own.
    pub(super) fn start(script: Script) -> Result<Self> {
        let id = Uuid::new_v4();
        let (program, arguments) = script.argv.split_first().ok_or_else(|| {
            DriverError::InvalidArgument("there is no program to run the script".into())
        })?;
        let context = |error: io::Error| {
            if error.kind() == io::ErrorKind::InvalidInput {
                // As Python says it. It comes from the client.
                return DriverError::InvalidArgument("embedded null byte".into());
            }
            DriverError::io(format!("run {program}"), error)
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(script.env.iter().map(|(name, value)| (name, value)))
            .env(MARK, id.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &script.cwd {
            command.current_dir(cwd);
        }
        #[expect(unsafe_code, reason = "there is no safe way yet to start a session")]
        // SAFETY: between fork and exec this only makes a system call that POSIX allows there.
        unsafe {
            command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?));
        }
        // Listening comes first, so that no end is missed.
        let ends = signal(SignalKind::child()).map_err(context)?;
        let mut child = command.spawn().map_err(context)?;
        let leader = Pid::from_raw(child.id().cast_signed());
        let output = Output::of(&mut child, leader, ends).map_err(context)?;
        Ok(Self { id, family: Family::of(id, leader), script, output })
    }

    /// By what the processes of this run are recognised.
    pub(super) const fn id(&self) -> Uuid {
        self.id
    }

    /// Passes the output on until the script is over, one way or another. Afterwards it and
    /// everything that it started are gone, except for what it left behind when it ended by itself.
    pub(super) async fn finish(
        self,
        items: mpsc::Sender<Result<Value>>,
        stop: CancellationToken,
    ) -> End {
        let Self { script, family, mut output, .. } = self;
        let end = tokio::select! {
            biased;
            code = output.pass_on(&items) => End::Done(code),
            () = items.closed() => End::Abandoned,
            () = stop.cancelled() => End::Stopped,
            () = sleep(script.timeout.duration()) => End::TimedOut,
        };
        match end {
            End::Done(_) => {}
            End::TimedOut | End::Abandoned | End::Stopped => output.end(&family, &items).await,
        }
        output.reap();
        let method = &script.method;
        let last = match end {
            End::Done(code) => {
                tracing::info!("{method} returned {code}");
                Ok(output.last_item("", code))
            }
            End::TimedOut => {
                tracing::warn!("{method} took longer than {} s", script.timeout);
                Ok(output.last_item(&script.expired(), TIMED_OUT))
            }
            End::Stopped => Err(DriverError::Disconnected(format!("{method} was stopped"))),
            End::Abandoned => {
                tracing::info!("{method} was stopped, because its client has gone");
                return end;
            }
        };
        tokio::select! {
            biased;
            // An error means that the client has gone in the meantime.
            _ = items.send(last) => {}
            // A slow client doesn't hold up the end.
            () = stop.cancelled() => {}
        }
        end
    }
}

impl Script {
    /// What a client hears when the script is out of time, in the reference's words.
    fn expired(&self) -> String {
        let argv = python::list(self.argv.iter().map(String::as_str));
        let Self { method, timeout, .. } = self;
        format!(
            "\nTimeout expired while running {method}: \
             Command '{argv}' timed out after {timeout} seconds\n"
        )
    }
}
