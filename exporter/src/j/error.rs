//! Why a call of `j` failed, in one line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use tonic::{Code, Status};

use super::output;
use super::signals::Signal;

/// The result of anything `j` does.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why `j` failed. The text is what stands after `Error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// `JUMPSTARTER_HOST` is not there. The words are the reference's.
    #[error("the j command must be used inside a jmp shell: JUMPSTARTER_HOST not set")]
    NoHost,
    /// A variable of the environment holds something that can't be.
    #[error("{variable}: {reason}")]
    Environment { variable: &'static str, reason: &'static str },
    /// No connection, or one that is not an exporter's.
    #[error("cannot reach the exporter at {host} (JUMPSTARTER_HOST): {reason}")]
    Unreachable { host: String, reason: String },
    /// The report can't be made a tree of.
    #[error("the exporter's report makes no sense: {0}")]
    Report(String),
    /// The exporter refused or failed a call.
    #[error("{driver}: {method}: {}", Words(.status))]
    Call { driver: String, method: String, status: Status },
    /// The exporter answered with something else than the method promises.
    #[error("{driver}: {method}: the exporter answered {answer} instead of {expected}")]
    Answer { driver: String, method: String, expected: &'static str, answer: String },
    /// The command is well-formed, but asks for something that can't be had.
    #[error("{0}")]
    Refused(String),
    /// A file of this machine.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// Anything else of this machine.
    #[error("{doing}: {source}")]
    Local { doing: String, source: io::Error },
    /// The mux could not be given back to the DUT.
    #[error("{driver}: the storage is still connected to the host: {dut}{}", Because(.earlier))]
    StillWithHost { driver: String, dut: Box<Self>, earlier: Option<Box<Self>> },
    /// Whoever read stdout does not any more.
    #[error("stdout was closed")]
    StdoutClosed,
    /// A signal ended the verb.
    #[error("interrupted")]
    Interrupted(Signal),
}

impl Error {
    /// An I/O error of this machine, and what was being done.
    pub(crate) fn local(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Local { doing: doing.into(), source }
    }

    /// An I/O error of a local file.
    pub(crate) fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { path: path.into(), source }
    }

    /// Says it and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Usage(usage) => {
                output::usage(usage);
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
            }
            Self::StdoutClosed => ExitCode::SUCCESS,
            // Whoever sent the signal knows. A mux that was put back has been spoken of.
            Self::Interrupted(signal) => ExitCode::from(signal.exit_code()),
            Self::NoHost
            | Self::Environment { .. }
            | Self::Unreachable { .. }
            | Self::Report(_)
            | Self::Call { .. }
            | Self::Answer { .. }
            | Self::Refused(_)
            | Self::File { .. }
            | Self::Local { .. }
            | Self::StillWithHost { .. } => {
                output::note(format_args!("Error: {}", one_line(&self.to_string())));
                ExitCode::FAILURE
            }
        }
    }

    /// The code of the exporter's answer, if it was one.
    pub(crate) fn code(&self) -> Option<Code> {
        if let Self::Call { status, .. } = self { Some(status.code()) } else { None }
    }
}

/// The server's words, and its code where that says more than the words do.
struct Words<'a>(&'a Status);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, words) = (self.0.code(), self.0.message());
        match (code, words) {
            // "Exporter not ready for driver calls" speaks for itself, and UNKNOWN says nothing.
            (Code::FailedPrecondition | Code::Unknown, words) if !words.is_empty() => {
                f.write_str(words)
            }
            (_, "") => write!(f, "{code}"),
            (_, words) => write!(f, "{words} ({code:?})"),
        }
    }
}

/// The error that came before, if there was one.
struct Because<'a>(&'a Option<Box<Error>>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |earlier| write!(f, " (after: {earlier})"))
    }
}

/// Messages of drivers may have many lines. Scripts and log readers want one.
fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(status: Status) -> String {
        Error::Call { driver: "board.power".into(), method: "on".into(), status }.to_string()
    }

    #[test]
    fn a_failed_call_names_driver_method_and_the_servers_words() {
        assert_eq!(call(Status::unknown("relay stuck")), "board.power: on: relay stuck");
        assert_eq!(
            call(Status::deadline_exceeded("no answer in 2 s")),
            "board.power: on: no answer in 2 s (DeadlineExceeded)"
        );
    }

    #[test]
    fn a_refusal_shows_the_exporters_words_alone() {
        let words = "Exporter not ready for driver calls (status: AVAILABLE)";
        assert_eq!(call(Status::failed_precondition(words)), format!("board.power: on: {words}"));
    }

    #[test]
    fn a_code_without_words_is_spelled_out() {
        assert_eq!(
            call(Status::unimplemented("")),
            "board.power: on: Operation is not implemented or not supported"
        );
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("1 error\n  port\n\n    too big"), "1 error; port; too big");
    }
}
