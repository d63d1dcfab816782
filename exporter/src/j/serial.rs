//! Clients of serial ports: `start-console`, `pipe`, `borrow` and `log`.

use std::future;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, value_parser};
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time;
use tonic::Status;

use super::client::Client;
use super::command::{flag, option, value};
use super::error::{Error, Result};
use super::report::Driver;
use super::signals::Signals;
use super::stream::{ByteStream, Incoming, Outgoing};
use super::{borrow, console, local, output, serial_log};

/// What is read from stdin at once.
const CHUNK: usize = 16 << 10;

const PIPE_HELP: &str = "Pipe serial port data to stdout or file.

By default, reads from the serial port and writes to stdout. If stdin is piped, it
is sent to the serial port until it ends; the output is followed until Ctrl+C.

Examples:

  j serial pipe                                    log the output to stdout
  j serial pipe -o serial.log                      log the output to a file
  echo hello | j serial pipe                       send, and go on logging
  cat commands.txt | j serial pipe --no-output     send, and exit";

/// What to do with a serial port.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    StartConsole(console::Wish),
    Pipe(Pipe),
    Borrow(borrow::Errand),
    Log(serial_log::Wish),
}

/// Where the bytes of a `pipe` come from and go to.
#[derive(Debug, PartialEq)]
pub(crate) struct Pipe {
    output: Option<PathBuf>,
    append: bool,
    no_output: bool,
    input: bool,
    no_input: bool,
}

pub(crate) fn commands(driver: &Driver) -> Vec<Command> {
    let output = option("output", "PATH").short('o').value_parser(value_parser!(PathBuf));
    let mut commands = vec![
        console::command(driver),
        borrow::command(driver),
        driver.command("pipe", PIPE_HELP).args([
            output.help("Output file path. If not specified, writes to stdout."),
            flag("input")
                .short('i')
                .help("Send stdin to the serial port even if it is a terminal."),
            flag("no-input").conflicts_with("input").help("Leave stdin alone even if it is piped."),
            flag("append")
                .short('a')
                .requires("output")
                .help("Append to output file instead of overwriting."),
            flag("no-output")
                .conflicts_with_all(["output", "append"])
                .help("Ignore serial output. Send stdin to the serial port and exit at its end."),
        ]),
    ];
    // Only ports that are recorded have it, and say so.
    if driver.methods.contains_key(serial_log::NAME) {
        commands.push(serial_log::command(driver));
    }
    commands
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "start-console" => Verb::StartConsole(console::wish(matches)),
        "borrow" => Verb::Borrow(borrow::errand(matches)),
        serial_log::NAME => Verb::Log(serial_log::wish(matches)),
        "pipe" => Verb::Pipe(Pipe {
            output: matches.get_one("output").cloned(),
            append: value(matches, "append"),
            no_output: value(matches, "no-output"),
            input: value(matches, "input"),
            no_input: value(matches, "no-input"),
        }),
        _ => return None,
    })
}

/// Returns the exit code.
pub(crate) async fn perform(client: &Client<'_>, verb: Verb, signals: &mut Signals) -> Result<u8> {
    match verb {
        Verb::StartConsole(wish) => signals.guard(console::run(client, wish)).await?,
        Verb::Pipe(pipe) => perform_pipe(client, &pipe, signals).await?,
        Verb::Borrow(errand) => return borrow::run(client, &errand, signals).await,
        Verb::Log(wish) => signals.guard(serial_log::run(client, &wish)).await?,
    }
    Ok(0)
}

async fn perform_pipe(client: &Client<'_>, pipe: &Pipe, signals: &mut Signals) -> Result<()> {
    let stdin = pipe.stdin(io::stdin().is_terminal());
    if pipe.no_output && stdin == Stdin::Ignored {
        let words = "--no-output requires stdin input (pipe stdin or use --input)\n";
        return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, words).into());
    }
    output::note(pipe.status(stdin));
    let outcome = signals.guard(run(client, pipe, stdin)).await;
    if let Err(Error::Interrupted(_)) = outcome {
        output::note("\nStopped.");
    }
    outcome
}

/// What becomes of stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stdin {
    Piped,
    Forced,
    Ignored,
}

impl Pipe {
    fn stdin(&self, is_terminal: bool) -> Stdin {
        match self {
            Self { no_input: true, .. } => Stdin::Ignored,
            Self { input: true, .. } => Stdin::Forced,
            Self { .. } if is_terminal => Stdin::Ignored,
            Self { .. } => Stdin::Piped,
        }
    }

    /// What the user reads first.
    fn status(&self, stdin: Stdin) -> String {
        let mode = match stdin {
            Stdin::Piped => "auto-detected piped stdin",
            Stdin::Forced => "forced input mode",
            Stdin::Ignored => "read-only",
        };
        let exit = "(Ctrl+C to exit)";
        match (&self.output, stdin) {
            _ if self.no_output => {
                format!("Fire-and-forget mode ({mode}): stdin→serial, no output (exits at EOF)")
            }
            (None, Stdin::Ignored) => format!("Reading from serial port ({mode})... {exit}"),
            (None, Stdin::Piped | Stdin::Forced) => {
                format!("Bidirectional mode ({mode}): stdin→serial, serial→stdout {exit}")
            }
            (Some(file), Stdin::Ignored) => {
                format!("Logging serial output to {} ({mode})... {exit}", file.display())
            }
            (Some(file), Stdin::Piped | Stdin::Forced) => {
                format!("Bidirectional mode ({mode}) with logging to {}... {exit}", file.display())
            }
        }
    }
}

async fn run(client: &Client<'_>, pipe: &Pipe, stdin: Stdin) -> Result<()> {
    let output = open(pipe).await?;
    let ByteStream { outgoing, incoming } = client.connect().await?;
    if pipe.no_output {
        return send_only(client, outgoing, incoming).await;
    }
    let received = receive(client, incoming, pipe, output);
    match stdin {
        Stdin::Ignored => received.await,
        Stdin::Piped | Stdin::Forced => tokio::select! {
            outcome = received => outcome,
            // The end of stdin is not the end: the output goes on.
            Err(error) = send(outgoing) => Err(error),
        },
    }
}

/// stdin to the port, and no more.
///
/// The protocol has no word for "all of it is on the line", and an exporter drops what it has not
/// written when its client leaves, so this stays for as long as the line may need.
async fn send_only(client: &Client<'_>, outgoing: Outgoing, mut incoming: Incoming) -> Result<()> {
    let lost = |status| client.failed("connect", status);
    let sent = tokio::select! {
        sent = send(outgoing) => sent?,
        ended = discard(&mut incoming) => {
            ended.map_err(lost)?;
            let words = "the serial port was closed before all of stdin was sent";
            return Err(Error::Refused(format!("{}: {words}", client.name())));
        }
    };
    match time::timeout(time_on_line(sent), discard(&mut incoming)).await {
        Ok(ended) => ended.map_err(lost),
        Err(_) => Ok(()),
    }
}

/// Half a second for the way there, and what a line of 115200 baud needs for `bytes`.
fn time_on_line(bytes: u64) -> Duration {
    Duration::from_millis(500 + bytes * 1000 / (115_200 / 10))
}

async fn discard(incoming: &mut Incoming) -> Result<(), Status> {
    while incoming.next().await?.is_some() {}
    Ok(())
}

async fn open(pipe: &Pipe) -> Result<Box<dyn AsyncWrite + Unpin>> {
    let Some(path) = &pipe.output else { return Ok(Box::new(tokio::io::stdout())) };
    let mut options = File::options();
    let options = options.create(true).write(true).append(pipe.append).truncate(!pipe.append);
    let file = options.open(path).await.map_err(|error| Error::file(path, error))?;
    Ok(Box::new(file))
}

/// stdin to the port, with its end. Returns the number of bytes.
async fn send(outgoing: Outgoing) -> Result<u64> {
    let mut chunks = local::stdin(CHUNK);
    let mut sent = 0;
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        sent += chunk.len() as u64;
        if outgoing.send(chunk).await.is_err() {
            // The other direction is about to say why.
            return future::pending().await;
        }
    }
    outgoing.finish().await;
    Ok(sent)
}

/// The port to the output, each chunk as it comes.
async fn receive(
    client: &Client<'_>,
    mut incoming: Incoming,
    pipe: &Pipe,
    mut output: Box<dyn AsyncWrite + Unpin>,
) -> Result<()> {
    let failed = |error| match &pipe.output {
        Some(path) => Error::file(path, error),
        None => output::to_stdout(error),
    };
    let lost = |status| client.failed("connect", status);
    while let Some(chunk) = incoming.next().await.map_err(lost)? {
        output.write_all(&chunk).await.map_err(failed)?;
        output.flush().await.map_err(failed)?;
    }
    output::note("\nSerial connection closed normally (end of stream).");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Pipe =
        Pipe { output: None, append: false, no_output: false, input: false, no_input: false };

    #[test]
    fn stdin_is_sent_if_it_is_piped_or_asked_for() {
        assert_eq!(PLAIN.stdin(true), Stdin::Ignored);
        assert_eq!(PLAIN.stdin(false), Stdin::Piped);
        assert_eq!(Pipe { input: true, ..PLAIN }.stdin(true), Stdin::Forced);
        assert_eq!(Pipe { no_input: true, ..PLAIN }.stdin(false), Stdin::Ignored);
    }

    #[test]
    fn the_status_says_where_bytes_go() {
        let log = || Pipe { output: Some("a.log".into()), ..PLAIN };
        let silent = Pipe { no_output: true, ..PLAIN };
        let cases = [
            (PLAIN, Stdin::Ignored, "Reading from serial port (read-only)... (Ctrl+C to exit)"),
            (
                PLAIN,
                Stdin::Piped,
                "Bidirectional mode (auto-detected piped stdin): stdin→serial, serial→stdout (Ctrl+C to exit)",
            ),
            (
                log(),
                Stdin::Ignored,
                "Logging serial output to a.log (read-only)... (Ctrl+C to exit)",
            ),
            (
                log(),
                Stdin::Forced,
                "Bidirectional mode (forced input mode) with logging to a.log... (Ctrl+C to exit)",
            ),
            (
                silent,
                Stdin::Piped,
                "Fire-and-forget mode (auto-detected piped stdin): stdin→serial, no output (exits at EOF)",
            ),
        ];
        for (pipe, stdin, status) in cases {
            assert_eq!(pipe.status(stdin), status);
        }
    }
}
