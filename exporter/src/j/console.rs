//! `start-console`: this terminal becomes the serial port's.

use std::future;
use std::io::{self, IsTerminal as _};

use clap::{ArgMatches, Command};
use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

use super::client::Client;
use super::command::{flag, value};
use super::error::{Error, Result};
use super::report::Driver;
use super::stream::{ByteStream, Incoming, Outgoing};
use super::{local, output};

/// A paste may be long; a key is one byte.
const CHUNK: usize = 1 << 10;

/// How the console is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Keys are for nobody.
    read_only: bool,
    /// Whoever else writes has to stop.
    take_over: bool,
}

pub(crate) fn command(driver: &Driver) -> Command {
    driver.command("start-console", "Start serial port console").args([
        flag("read-only").help("Send nothing. It is read-only anyway while another one writes."),
        flag("take-over")
            .conflicts_with("read-only")
            .help("Write even if another one does, which can't any more."),
    ])
}

pub(crate) fn wish(matches: &ArgMatches) -> Wish {
    Wish { read_only: value(matches, "read-only"), take_over: value(matches, "take-over") }
}

/// Runs until Ctrl-B was pressed three times in a row or the port closes.
pub(crate) async fn run(client: &Client<'_>, wish: Wish) -> Result<()> {
    if !io::stdin().is_terminal() {
        let words = "start-console needs a terminal on stdin; scripts use `pipe`";
        return Err(Error::Refused(format!("{}: {words}", client.name())));
    }
    if wish.take_over {
        client.call("take_over", vec![]).await?;
    }
    let writing = if wish.read_only { None } else { writing_for(client).await? };
    let ByteStream { outgoing, incoming } = client.connect().await?;
    if let Some(seconds) = writing {
        output::note(format_args!(
            "Read-only: another stream writes to this port, for {seconds:.0} s now. To write \
             yourself, wait for its end, or use --take-over."
        ));
    }
    let outgoing = (!wish.read_only && writing.is_none()).then_some(outgoing);
    output::line("\nStarting serial port console ... exit with CTRL+B x 3 times\n")?;
    let _raw = RawTerminal::enter()?;
    tokio::select! {
        outcome = keys(outgoing) => outcome,
        outcome = screen(client, incoming) => outcome,
    }
}

/// For how many seconds somebody has been writing to the port; none if nobody is, or the exporter
/// lets everybody write.
async fn writing_for(client: &Client<'_>) -> Result<Option<f64>> {
    match client.ask("writing_for", vec![], "seconds").await {
        Err(error) if matches!(error.code(), Some(Code::NotFound | Code::Unimplemented)) => {
            Ok(None)
        }
        answer => answer,
    }
}

/// The keyboard, until the escape. Without an `outgoing`, it is for nothing but that.
async fn keys(outgoing: Option<Outgoing>) -> Result<()> {
    let mut chunks = local::stdin(CHUNK);
    let mut escape = Escape::default();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let end = escape.find(&chunk);
        if let Some(outgoing) = &outgoing
            && outgoing.send(chunk.slice(..end.unwrap_or(chunk.len()))).await.is_err()
        {
            // The other direction is about to say why.
            return future::pending().await;
        }
        if end.is_some() {
            break;
        }
    }
    Ok(())
}

async fn screen(client: &Client<'_>, mut incoming: Incoming) -> Result<()> {
    let mut stdout = tokio::io::stdout();
    let lost = |status| client.failed("connect", status);
    while let Some(chunk) = incoming.next().await.map_err(lost)? {
        stdout.write_all(&chunk).await.map_err(output::to_stdout)?;
        stdout.flush().await.map_err(output::to_stdout)?;
    }
    output::note("\r\nSerial connection closed normally (end of stream).\r");
    Ok(())
}

/// Looks for three Ctrl-B in a row. The first two go to the port, as it may need them.
#[derive(Debug, Default)]
struct Escape {
    seen: u8,
}

impl Escape {
    const KEY: u8 = 0x02;

    /// Where the third is, if it is in `keys`.
    fn find(&mut self, keys: &[u8]) -> Option<usize> {
        keys.iter().position(|&key| {
            self.seen = if key == Self::KEY { self.seen + 1 } else { 0 };
            self.seen == 3
        })
    }
}

/// Raw mode: every key goes to the port, Ctrl-C too. The mode before comes back when this is
/// dropped.
#[derive(Debug)]
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        let enter = || {
            let before = termios::tcgetattr(io::stdin())?;
            let mut raw = before.clone();
            termios::cfmakeraw(&mut raw);
            termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
            Ok(Self { before })
        };
        enter().map_err(|error: nix::Error| Error::local("setting up the terminal", error.into()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_the_escape() {
        assert_eq!(Escape::default().find(b"ab\x02\x02\x02c"), Some(4));
        assert_eq!(Escape::default().find(b"\x02\x02a\x02"), None);
    }

    #[test]
    fn they_may_come_one_by_one() {
        let mut escape = Escape::default();
        let found = [&b"\x02"[..], b"\x02", b"\x02"].map(|key| escape.find(key));
        assert_eq!(found, [None, None, Some(0)]);
    }
}
