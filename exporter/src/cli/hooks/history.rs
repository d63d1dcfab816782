//! `hilt hooks history`: every run of a hook, in a table or as JSON.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::show::{ending, took};
use super::{Format, Whose};
use crate::store::{Filter, Found, Histories, HookEvent, RunStatus, since};
use crate::web::Execution;

/// List the runs of hooks, the latest last.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Only those for this event: beforeLease, stop, preInstall, ...
    #[arg(long, value_parser = event)]
    event: Option<HookEvent>,
    /// Only those while the bench had a lease of this name.
    #[arg(long)]
    lease: Option<String>,
    /// Only those of the driver at this path, its names joined by dots.
    #[arg(long, value_name = "PATH")]
    driver: Option<String>,
    /// Only those that ended this way: success, failure or timeout.
    #[arg(long, value_parser = status)]
    status: Option<RunStatus>,
    /// Only those since then: a time as in RFC 3339, or how long ago (2h, 3d).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// How to print them. JSON is one object a line, with the full output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    whose: Whose,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let exporters = self.whose.exporters()?;
        let histories = Histories::open(&exporters)?;
        let filter = Filter {
            event: self.event,
            lease: self.lease,
            driver: self.driver,
            status: self.status,
            since: self.since,
            before: None,
            limit: None,
        };
        let mut found = histories.runs(&filter)?;
        found.reverse();
        let mut out = BufWriter::new(io::stdout().lock());
        match self.format {
            Format::Table => print_table(&found, exporters.len() > 1, &mut out)?,
            Format::Json => {
                for one in &found {
                    let execution = Execution::new(one, histories.output(one)?);
                    serde_json::to_writer(&mut out, &execution).map_err(io::Error::from)?;
                    writeln!(out)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

/// The event of this name, for the command line.
fn event(word: &str) -> Result<HookEvent, String> {
    HookEvent::of_word(word)
        .ok_or_else(|| format!("there are: {}", HookEvent::ALL.map(HookEvent::word).join(", ")))
}

fn status(word: &str) -> Result<RunStatus, String> {
    RunStatus::of_word(word)
        .ok_or_else(|| format!("there are: {}", RunStatus::ALL.map(RunStatus::word).join(", ")))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    since(text, Timestamp::now())
}

/// When something began, on the clock of this host.
pub(super) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn print_table(found: &[Found], with_exporter: bool, out: &mut impl Write) -> io::Result<()> {
    let head = ["RUN", "STARTED", "EVENT", "OF", "LEASE", "EXPORTER", "TOOK", "STATUS"];
    let mut rows = vec![head.map(Cow::from)];
    rows.extend(found.iter().map(row));
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let mut line = String::new();
        for (column, text) in row.iter().enumerate().filter(|(at, _)| *at != 5 || with_exporter) {
            line += &format!("{text:width$}  ", width = widths[column]);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(found: &Found) -> [Cow<'_, str>; 8] {
    let begun = &found.run.begun;
    [
        begun.id.to_string()[..8].to_owned().into(),
        local(begun.started).into(),
        begun.event.word().into(),
        begun.subject.name().into(),
        found.run.lease_name.as_deref().unwrap_or("-").into(),
        found.exporter.as_str().into(),
        took(&found.run).into(),
        ending(&found.run).into(),
    ]
}
