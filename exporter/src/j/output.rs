//! The only place that prints.
//!
//! Results go to stdout, everything that a script does not want to read goes to stderr.

use std::fmt;
use std::io::{self, Write as _};

use super::error::{Error, Result};

/// Prints one line of a result.
pub(crate) fn line(text: impl fmt::Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(to_stdout)
}

/// Prints a part of a result as it is, at once.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(to_stdout)
}

/// Prints what a script wrote to its stderr.
pub(crate) fn diagnostics(text: &str) {
    ignore(io::stderr().lock().write_all(text.as_bytes()));
}

/// Prints one line for people.
pub(crate) fn note(text: impl fmt::Display) {
    ignore(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints what clap has to say: help that was asked for to stdout, anything else to stderr.
pub(crate) fn usage(usage: &clap::Error) {
    let text = usage.render().to_string();
    // All errors begin alike.
    let (prefix, text) =
        text.strip_prefix("error: ").map_or(("", &*text), |rest| ("Error: ", rest));
    ignore(if usage.use_stderr() {
        write!(io::stderr().lock(), "{prefix}{text}")
    } else {
        write!(io::stdout().lock(), "{prefix}{text}")
    });
}

/// A reader that went away is no failure of ours.
pub(crate) fn to_stdout(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Error::StdoutClosed
    } else {
        Error::local("writing to stdout", error)
    }
}

/// Where stderr itself is gone there is nobody left to tell.
fn ignore(_: io::Result<()>) {}
