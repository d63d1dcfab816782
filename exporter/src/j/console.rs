//! `start-console`: this terminal becomes the serial port's.

use std::io::{self, IsTerminal as _};

use nix::sys::termios::{self, SetArg, Termios};
use tokio::io::AsyncWriteExt as _;

use super::client::Client;
use super::error::{Error, Result};
use super::stream::{ByteStream, Incoming, Outgoing};
use super::{local, output};

/// A paste may be long; a key is one byte.
const CHUNK: usize = 1 << 10;

/// Runs until Ctrl-B was pressed three times in a row or the port closes.
pub(crate) async fn run(client: &Client<'_>) -> Result<()> {
    if !io::stdin().is_terminal() {
        let words = "start-console needs a terminal on stdin; scripts use `pipe`";
        return Err(Error::Refused(format!("{}: {words}", client.name())));
    }
    let ByteStream { outgoing, incoming } = client.connect().await?;
    output::line("\nStarting serial port console ... exit with CTRL+B x 3 times\n")?;
    let _raw = RawTerminal::enter()?;
    tokio::select! {
        outcome = keys(outgoing) => outcome,
        outcome = screen(client, incoming) => outcome,
    }
}

/// The keyboard, until the escape.
async fn keys(outgoing: Outgoing) -> Result<()> {
    let mut chunks = local::stdin(CHUNK);
    let mut escape = Escape::default();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let Some(end) = escape.find(&chunk) else {
            if outgoing.send(chunk).await.is_err() {
                break;
            }
            continue;
        };
        outgoing.send(chunk.slice(..end)).await.ok();
        break;
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
