//! `hilt check`: everything that is wrong with configuration files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::config::{Environment, Mistakes, Position, load};
use crate::lifecycle::departure;

/// Report every mistake in exporter configurations.
///
/// Mistakes go to stderr, one line each: FILE:LINE:COLUMN: key.path: what is wrong; what would be
/// right. Says how long a service manager has to wait for the hooks of a file without errors. Exits
/// with 1 if there is an error in any file.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Treat keys that nobody reads as errors.
    #[arg(long)]
    strict: bool,
    /// How to print: lines on stderr, or a JSON array on stdout.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Check {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let environment = Environment::of_process();
        let checked: Vec<_> =
            self.files.iter().map(|file| Checked::new(file, &environment, self.strict)).collect();
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        match self.format {
            Format::Text => print_text(&checked, &mut out, &mut err),
            Format::Json => print_json(&checked, &mut out),
        }
        .context("failed to print what was found")?;
        let failed = checked.iter().any(|checked| checked.found.are_errors());
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What there is to say about a file.
struct Checked {
    found: Mistakes,
    /// The longest that an exporter with this file takes to stop, if it has hooks.
    longest: Option<Duration>,
}

impl Checked {
    fn new(file: &Path, environment: &Environment, strict: bool) -> Self {
        let (found, longest) = match load(file, environment) {
            Ok(loaded) => (loaded.warnings, departure::longest(&loaded.config)),
            Err(mistakes) => (mistakes, None),
        };
        Self { found: if strict { found.strictly() } else { found }, longest }
    }
}

fn print_text(checked: &[Checked], out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    for Checked { found, longest } in checked {
        if found.iter().next().is_some() {
            // In one piece, as nothing buffers stderr.
            err.write_all(format!("{found}\n").as_bytes())?;
        }
        if found.are_errors() {
            continue;
        }
        let file = found.file().display();
        writeln!(out, "{file}: ok")?;
        if let Some(longest) = longest {
            let seconds = longest.as_secs();
            writeln!(
                out,
                "{file}: its hooks need TimeoutStopSec={seconds} (systemd) or \
                 terminationGracePeriodSeconds: {seconds} (Kubernetes)"
            )?;
        }
    }
    Ok(())
}

fn print_json(checked: &[Checked], out: &mut impl Write) -> io::Result<()> {
    let lines: Vec<_> = checked.iter().flat_map(|checked| lines(&checked.found)).collect();
    serde_json::to_writer_pretty(&mut *out, &lines)?;
    writeln!(out)
}

/// A mistake in JSON.
#[derive(Serialize)]
struct Line<'a> {
    file: String,
    line: usize,
    column: usize,
    path: &'a str,
    severity: &'static str,
    message: &'a str,
    hint: &'a str,
}

fn lines(found: &Mistakes) -> impl Iterator<Item = Line<'_>> {
    found.iter().map(|mistake| {
        let Position { line, column } = mistake.position;
        Line {
            file: found.file().display().to_string(),
            line,
            column,
            path: &mistake.path,
            severity: mistake.severity.word(),
            message: &mistake.message,
            hint: &mistake.hint,
        }
    })
}
