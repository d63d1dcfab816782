//! How the demo looks.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

/// Who a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// The exporter's status.
    Status,
    /// A hook.
    Hook,
    /// A driver call, as `j` makes them.
    Call,
    /// The client.
    Client,
    /// Something went wrong.
    Trouble,
}

/// Prints lines with the time at which they came.
#[derive(Debug)]
pub(super) struct Screen<W> {
    out: W,
    colours: bool,
}

impl Screen<io::Stdout> {
    /// The terminal, or whatever stands in its place.
    pub(super) fn new(out: io::Stdout) -> Self {
        let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, colours }
    }
}

impl<W: Write> Screen<W> {
    /// A heading.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.coloured("1", text);
        writeln!(self.out, "{text}\n")
    }

    /// A line of the story.
    pub(super) fn line(&mut self, at: Duration, voice: Voice, text: &str) -> io::Result<()> {
        let (name, colour) = match voice {
            Voice::Status => ("status", "1;36"),
            Voice::Hook => ("hook", "33"),
            Voice::Call => ("j", "32"),
            Voice::Client => ("client", "35"),
            Voice::Trouble => ("error", "1;31"),
        };
        let name = self.coloured(colour, &format!("{name:<7}"));
        writeln!(self.out, "{:8.3}  {name} {text}", at.as_secs_f64())
    }

    /// A line of its own.
    pub(super) fn plain(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
