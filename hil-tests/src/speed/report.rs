//! The table, for people.

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};

use super::machine::Machine;
use super::measurements::Measurement;
use super::row::{Samples, Target, Unit};
use super::statistics::Spread;
use crate::subject::Subject;

/// Of a processor's time. From here on, somebody else was at work on the machine.
const DISTURBED: f64 = 0.1;

/// What was measured, on what.
#[derive(Debug)]
pub(super) struct Report {
    machine: Machine,
    /// The load averages before and after.
    loads: [String; 2],
    /// The shares of the processors that others took between the measurements.
    disturbances: Vec<f64>,
    parts: Vec<(&'static Measurement, Result<Vec<Samples>>)>,
}

impl Report {
    /// Of a run that begins now.
    pub(super) fn new(machine: Machine) -> Result<Self> {
        let loads = [load()?, String::new()];
        Ok(Self { machine, loads, disturbances: Vec::new(), parts: Vec::new() })
    }

    pub(super) fn add_disturbance(&mut self, share: f64) {
        self.disturbances.push(share);
    }

    pub(super) fn add(&mut self, part: &'static Measurement, samples: Result<Vec<Samples>>) {
        self.parts.push((part, samples));
    }

    /// The run ends now.
    pub(super) fn end(&mut self) -> Result<()> {
        self.loads[1] = load()?;
        Ok(())
    }

    /// Whether every measurement could be made.
    pub(super) fn is_complete(&self) -> bool {
        self.parts.iter().all(|(_, samples)| samples.is_ok())
    }

    /// Names the rows whose targets are not reached, and what a profile shows.
    fn write_misses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut heading = "\nNot reached:\n\n";
        for (part, samples) in &self.parts {
            let samples = samples.iter().flatten();
            let missed = samples.filter(|samples| samples.verdict().is_reached == Some(false));
            let titles: Vec<_> = missed.map(|samples| samples.row.title).collect();
            if !titles.is_empty() {
                let profile = part.profile.unwrap_or("not profiled yet");
                writeln!(f, "{heading}- {}: {profile}", titles.join("; "))?;
                heading = "";
            }
        }
        Ok(())
    }

    fn table(&self) -> Vec<Vec<String>> {
        let head =
            ["", "Python 0.9.0", "bare", "Hilt", "of bare", "× Python", "to reach", "reached"];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for samples in self.parts.iter().flat_map(|(_, samples)| samples).flatten() {
            table.push(cells(samples));
        }
        table
    }
}

/// The load averages of the last minutes.
fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn cells(samples: &Samples) -> Vec<String> {
    let (row, spreads, verdict) = (samples.row, samples.spreads(), samples.verdict());
    let figure = |subject| {
        spreads[subject].map_or_else(|| "–".to_owned(), |spread| spread_text(spread, row.unit))
    };
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), number);
    let targets: Vec<_> = row.targets.iter().map(|target| target_text(*target, row.unit)).collect();
    let reached = match verdict.is_reached {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "–",
    };
    vec![
        row.title.to_owned(),
        figure(Subject::Python),
        figure(Subject::Bare),
        figure(Subject::Hilt),
        ratio(verdict.of_bare),
        ratio(verdict.times_python),
        targets.join("; "),
        reached.to_owned(),
    ]
}

/// The median, and between which figures the middle half of the rounds is.
fn spread_text(spread: Spread, unit: Unit) -> String {
    let Spread { lower_quartile, median, upper_quartile } = spread;
    let (median, low, high) = (number(median), number(lower_quartile), number(upper_quartile));
    let unit = unit.symbol;
    if low == high { format!("{median}{unit}") } else { format!("{median}{unit} ({low}–{high})") }
}

fn target_text(target: Target, unit: Unit) -> String {
    let sign = if unit.more_is_better { "≥" } else { "≤" };
    match target {
        Target::Figure(figure) => format!("{sign} {}{}", number(figure), unit.symbol),
        Target::OfBare(multiple) => format!("{sign} {multiple} of bare"),
        Target::OverBare(more) => format!("≤ bare + {}{}", number(more), unit.symbol),
        Target::TimesPython(times) => format!("≥ {times} × Python"),
    }
}

/// A number with three digits that count, and commas between the thousands.
fn number(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let behind = whole.len() - index;
        if behind % 3 == 0 && grouped.ends_with(|last: char| last.is_ascii_digit()) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# How fast\n")?;
        writeln!(
            f,
            "Written by `hil-tests/bench`, which measures the reference exporter, a bare server and \
             Hilt in turn with the\nsame client. A figure is the median of the rounds, and in \
             parentheses are their quartiles. Times on another machine\ndiffer; only ratios within \
             one run count.\n"
        )?;
        write!(f, "{}", self.machine)?;
        writeln!(f, "- load average {} before, {} after", self.loads[0], self.loads[1])?;
        let most = self.disturbances.iter().copied().fold(0.0, f64::max);
        if most >= DISTURBED {
            writeln!(
                f,
                "- **the machine was loaded**: others took up to {:.0} % of it between measurements",
                100.0 * most
            )?;
        }
        writeln!(f)?;
        write_table(f, &self.table())?;
        for (part, samples) in &self.parts {
            if let Err(error) = samples {
                writeln!(f, "\n**`{}` could not be measured**: {error:#}", part.name)?;
            }
        }
        self.write_misses(f)?;
        writeln!(f, "\nHow it is measured:\n")?;
        for (part, _) in &self.parts {
            writeln!(f, "- `{}`: {}", part.name, part.how)?;
        }
        Ok(())
    }
}

/// Writes a table that can be read as it is, and as Markdown. The first column is text, the others
/// are figures.
fn write_table(f: &mut fmt::Formatter<'_>, table: &[Vec<String>]) -> fmt::Result {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (index, row) in table.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            write!(f, "| {cell:<width$} ")?;
        }
        writeln!(f, "|")?;
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column == 0 { "-" } else { ":" };
                write!(f, "|-{}{end}", "-".repeat(*width))?;
            }
            writeln!(f, "|")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let texts = [0.0, 0.4567, 4.567, 45.67, 456.7, 4567.0, 45_670.4, 1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.457", "4.57", "45.7", "457", "4,567", "45,670", "1,234,567"]);
        assert_eq!(number(-1234.0), "-1,234");
        assert_eq!(number(-123.4), "-123");
    }

    #[test]
    fn a_figure_has_its_spread_unless_there_is_none() {
        let spread = Spread { lower_quartile: 9.5, median: 10.0, upper_quartile: 12.25 };
        assert_eq!(spread_text(spread, Unit::MS), "10.0 ms (9.50–12.2)");
        let exact = Spread { lower_quartile: 3.0, median: 3.0, upper_quartile: 3.0 };
        assert_eq!(spread_text(exact, Unit::FEW), "3.00");
    }

    #[test]
    fn targets_say_which_direction_is_good() {
        assert_eq!(target_text(Target::Figure(10.0), Unit::MS), "≤ 10.0 ms");
        assert_eq!(target_text(Target::Figure(100_000.0), Unit::PER_SECOND), "≥ 100,000/s");
        assert_eq!(target_text(Target::OfBare(0.8), Unit::PER_SECOND), "≥ 0.8 of bare");
        assert_eq!(target_text(Target::OverBare(45.0), Unit::US), "≤ bare + 45.0 µs");
        assert_eq!(target_text(Target::TimesPython(100.0), Unit::MS), "≥ 100 × Python");
    }
}
