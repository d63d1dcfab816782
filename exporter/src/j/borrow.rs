//! `borrow`: another program gets the serial port for as long as it runs.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::process::Child;
use tokio::time::timeout;

use super::client::Client;
use super::error::{Error, Result};
use super::output;
use super::report::Driver;
use super::signals::Signals;
use super::stream::{ByteStream, Incoming};

const HELP: &str = "Run a program that needs the serial port for itself.

The exporter closes the port, CMD runs on this machine with {} replaced by the port,
and when it has ended, however it has, the exporter opens the port again. Consoles and
pipes wait meanwhile. The exit code is CMD's.

CMD has to run where the port is, for example in a hook. A port behind a server can be
borrowed from anywhere.

Example:

  j serial borrow -- esptool.py --port {} write_flash 0 firmware.bin";

/// What stands for the port.
const PORT: &str = "{}";

/// How long a program may take to end if it has to.
const GRACE: Duration = Duration::from_secs(5);

/// The program to run.
#[derive(Debug, PartialEq)]
pub(crate) struct Errand {
    program: Vec<OsString>,
}

/// The first that the exporter says.
#[derive(Debug, Deserialize)]
struct Terms {
    /// A path or a URL.
    port: String,
    /// Which host the path is of, and since when; none for a URL.
    boot_id: Option<String>,
}

pub(crate) fn command(driver: &Driver) -> Command {
    let program =
        Arg::new("CMD").num_args(1..).required(true).value_parser(value_parser!(OsString));
    driver.command("borrow", HELP).arg(program.allow_hyphen_values(true).trailing_var_arg(true))
}

pub(crate) fn errand(matches: &ArgMatches) -> Errand {
    Errand { program: matches.get_many("CMD").unwrap_or_default().cloned().collect() }
}

/// Returns the exit code of the program.
pub(crate) async fn run(client: &Client<'_>, errand: &Errand, signals: &mut Signals) -> Result<u8> {
    // The port comes back when this stream ends, at the latest with this process.
    let ByteStream { outgoing: _outgoing, mut incoming } = client.open("borrow").await?;
    let terms = signals.guard(terms(client, &mut incoming)).await?;
    let mut child = errand.start(&terms.port)?;
    let taken_back = async {
        // Nothing more is said while the loan lasts.
        let end = incoming.next().await;
        end.err().map_or_else(|| "the port was taken back".into(), |status| status.message().into())
    };
    let ended = tokio::select! {
        biased;
        ended = child.wait() => ended,
        interrupted = signals.guard(std::future::pending::<Result<()>>()) => {
            stop(&mut child).await;
            return interrupted.map(|()| 0);
        }
        reason = taken_back => {
            let reason: String = reason;
            stop(&mut child).await;
            return Err(Error::Refused(format!("{}: {reason}", client.name())));
        }
    };
    ended.map(exit_code).map_err(|error| Error::local("waiting for the program", error))
}

async fn terms(client: &Client<'_>, incoming: &mut Incoming) -> Result<Terms> {
    let lost = |status| client.failed("borrow", status);
    let answer = incoming.next().await.map_err(lost)?.unwrap_or_default();
    let terms: Terms = serde_json::from_slice(&answer).map_err(|_| Error::Answer {
        driver: client.name(),
        method: "borrow".into(),
        expected: "a port",
        answer: String::from_utf8_lossy(&answer).into_owned(),
    })?;
    let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let is_elsewhere = match (&terms.boot_id, here) {
        (Some(there), Ok(here)) => there != here.trim(),
        (Some(_), Err(_)) => !Path::new(&terms.port).exists(),
        (None, _) => false,
    };
    if is_elsewhere {
        return Err(Error::Refused(format!(
            "{}: {} is a port of the exporter's host: borrow it there, for example in a hook",
            client.name(),
            terms.port
        )));
    }
    Ok(terms)
}

impl Errand {
    fn start(&self, port: &str) -> Result<Child> {
        let mut words = self.program.iter().map(|word| with_port(word, port));
        let program = words.next().unwrap_or_default();
        let mut command = tokio::process::Command::new(&program);
        let started = command.args(words).kill_on_drop(true).spawn();
        started.map_err(|error| Error::file(program, error))
    }
}

/// Arguments need not be text, but the ones that name the port are.
fn with_port(word: &OsStr, port: &str) -> OsString {
    word.to_str().map_or_else(|| word.to_owned(), |word| word.replace(PORT, port).into())
}

/// Lets a program end by itself, but not for ever.
async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended just now.
        kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
    }
    if timeout(GRACE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        output::note(format_args!("the program can't be ended: {error}"));
    }
}

/// As shells count.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_stands_where_it_is_asked_for() {
        let word = |word: &str| with_port(OsStr::new(word), "/dev/ttyUSB0");
        assert_eq!(word("{}"), "/dev/ttyUSB0");
        assert_eq!(word("--port={}"), "--port=/dev/ttyUSB0");
        assert_eq!(word("{port}"), "{port}");
    }

    #[test]
    fn the_programs_code_is_ours() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
