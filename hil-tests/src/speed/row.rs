//! The rows of the table: a figure, its samples, and what is to be reached.

use super::each::Each;
use super::statistics::Spread;
use crate::subject::Subject;

/// What one row of the table is about.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    /// What Hilt has to reach; a row without a target is there to explain another.
    pub(super) targets: &'static [Target],
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) symbol: &'static str,
    pub(super) more_is_better: bool,
}

impl Unit {
    /// Milliseconds.
    pub(super) const MS: Self = Self::less_is_better(" ms");
    /// Microseconds.
    pub(super) const US: Self = Self::less_is_better(" µs");
    /// 10⁶ bytes.
    pub(super) const MB: Self = Self::less_is_better(" MB");
    /// Hundredths.
    pub(super) const PERCENT: Self = Self::less_is_better(" %");
    /// A number of something of which there should be few.
    pub(super) const FEW: Self = Self::less_is_better("");
    /// A number of something of which there should be many.
    pub(super) const MANY: Self = Self::more_is_better("");
    /// How many a second.
    pub(super) const PER_SECOND: Self = Self::more_is_better("/s");
    /// 10⁶ bytes a second.
    pub(super) const MB_PER_SECOND: Self = Self::more_is_better(" MB/s");

    const fn less_is_better(symbol: &'static str) -> Self {
        Self { symbol, more_is_better: false }
    }

    const fn more_is_better(symbol: &'static str) -> Self {
        Self { symbol, more_is_better: true }
    }

    /// Whether `figure` is as good as `limit`, or better.
    fn is_within(self, figure: f64, limit: f64) -> bool {
        if self.more_is_better { figure >= limit } else { figure <= limit }
    }

    /// How many times better `figure` is than `other`.
    fn times_better(self, figure: f64, other: f64) -> f64 {
        if self.more_is_better { figure / other } else { other / figure }
    }
}

/// What Hilt has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// This figure.
    Figure(f64),
    /// This multiple of what the bare limit is.
    OfBare(f64),
    /// At most so much more than the bare limit.
    OverBare(f64),
    /// So many times better than the reference.
    TimesPython(f64),
}

/// The samples of a row, one a round.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) row: &'static Row,
    of: Each<Vec<f64>>,
}

impl Samples {
    /// None yet.
    pub(super) fn of(row: &'static Row) -> Self {
        Self { row, of: Each::default() }
    }

    /// A single one, where there are no rounds.
    pub(super) fn single(row: &'static Row, subject: Subject, sample: f64) -> Self {
        let mut samples = Self::of(row);
        samples.add(subject, sample);
        samples
    }

    pub(super) fn add(&mut self, subject: Subject, sample: f64) {
        self.of[subject].push(sample);
    }

    /// Where the samples of each subject lie, if it has any.
    pub(super) fn spreads(&self) -> Each<Option<Spread>> {
        self.of.map(|samples| Spread::of(samples))
    }

    /// What the medians of these samples say.
    pub(super) fn verdict(&self) -> Verdict {
        Verdict::of(self.row, &self.spreads().map(|spread| spread.map(|spread| spread.median)))
    }
}

/// What the medians of a row say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Hilt's figure as a multiple of the bare limit.
    pub(super) of_bare: Option<f64>,
    /// How many times better Hilt is than the reference.
    pub(super) times_python: Option<f64>,
    /// Whether all targets are reached. None if there are none, or a figure is missing.
    pub(super) is_reached: Option<bool>,
}

impl Verdict {
    fn of(row: &Row, medians: &Each<Option<f64>>) -> Self {
        let [hilt, bare, python] =
            [Subject::Hilt, Subject::Bare, Subject::Python].map(|subject| medians[subject]);
        let of_bare = hilt.zip(bare).map(|(hilt, bare)| hilt / bare);
        // What is less than nothing was lost in the noise.
        let times_python = hilt
            .zip(python.filter(|figure| *figure > 0.0))
            .map(|(hilt, other)| row.unit.times_better(hilt, other));
        let reached = |target: &Target| match *target {
            Target::Figure(limit) => Some(row.unit.is_within(hilt?, limit)),
            Target::OfBare(limit) => Some(row.unit.is_within(of_bare?, limit)),
            Target::OverBare(limit) => Some(hilt? - bare? <= limit),
            Target::TimesPython(times) => Some(times_python? >= times),
        };
        let is_reached = if row.targets.is_empty() {
            None
        } else {
            row.targets.iter().map(reached).try_fold(true, |all, one| Some(all && one?))
        };
        Self { of_bare, times_python, is_reached }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LATENCY: Row = Row {
        title: "latency",
        unit: Unit::US,
        targets: &[Target::Figure(100.0), Target::OfBare(1.3), Target::TimesPython(4.0)],
    };
    static RATE: Row =
        Row { title: "rate", unit: Unit::PER_SECOND, targets: &[Target::OfBare(0.8)] };
    static OVER: Row = Row { title: "over", unit: Unit::US, targets: &[Target::OverBare(45.0)] };
    static PLAIN: Row = Row { title: "plain", unit: Unit::MB, targets: &[] };

    fn verdict(row: &'static Row, figures: &[(Subject, f64)]) -> Verdict {
        let mut samples = Samples::of(row);
        for (subject, figure) in figures {
            samples.add(*subject, *figure);
        }
        samples.verdict()
    }

    fn reached(row: &'static Row, hilt: f64, bare: f64, python: f64) -> Option<bool> {
        use Subject::{Bare, Hilt, Python};
        verdict(row, &[(Hilt, hilt), (Bare, bare), (Python, python)]).is_reached
    }

    #[test]
    fn each_target_has_to_be_reached() {
        assert_eq!(reached(&LATENCY, 100.0, 80.0, 400.0), Some(true));
        assert_eq!(reached(&LATENCY, 101.0, 80.0, 500.0), Some(false), "the figure");
        assert_eq!(reached(&LATENCY, 100.0, 70.0, 500.0), Some(false), "of bare");
        assert_eq!(reached(&LATENCY, 100.0, 80.0, 390.0), Some(false), "times the reference");
        assert_eq!(reached(&OVER, 95.0, 50.0, 0.0), Some(true));
        assert_eq!(reached(&OVER, 96.0, 50.0, 0.0), Some(false));
    }

    #[test]
    fn of_a_rate_more_is_better() {
        assert_eq!(reached(&RATE, 81.0, 100.0, 10.0), Some(true));
        assert_eq!(reached(&RATE, 79.0, 100.0, 10.0), Some(false));
        let rate = verdict(&RATE, &[(Subject::Hilt, 80.0), (Subject::Python, 10.0)]);
        assert_eq!(rate.times_python, Some(8.0));
        let latency = verdict(&LATENCY, &[(Subject::Hilt, 10.0), (Subject::Python, 80.0)]);
        assert_eq!(latency.times_python, Some(8.0));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let verdict = verdict(&LATENCY, &[(Subject::Hilt, 50.0), (Subject::Bare, 50.0)]);
        assert_eq!(verdict.of_bare, Some(1.0));
        assert_eq!(verdict.is_reached, None);
        assert_eq!(reached(&PLAIN, 1.0, 1.0, 1.0), None);
    }
}
