//! The history of a whole host: every exporter's, in one list.

use super::error::StoreError;
use super::history::{Filter, History, Run};
use super::output::Output;
use crate::state::ExporterDir;

/// Readers of the state of several exporters.
#[derive(Debug)]
pub struct Histories(Vec<(String, History)>);

/// A run, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The exporter's name.
    pub exporter: String,
    /// The run.
    pub run: Run,
}

impl Histories {
    /// Opens the records of some exporters.
    ///
    /// # Errors
    ///
    /// If any of them can't be read.
    pub fn open(exporters: &[ExporterDir]) -> Result<Self, StoreError> {
        let open = |one: &ExporterDir| Ok((one.exporter.clone(), History::open(&one.dir)?));
        exporters.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The runs that a filter lets through, the latest first.
    ///
    /// # Errors
    ///
    /// If they can't be read.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<Found>, StoreError> {
        let mut all = self.each(|history| history.runs(filter))?;
        all.sort_by_key(|found| {
            let begun = &found.run.begun;
            std::cmp::Reverse((begun.started, begun.id))
        });
        if let Some(limit) = filter.limit {
            all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(all)
    }

    /// The runs of which the id begins so: if there is more than one, at least two of them.
    ///
    /// # Errors
    ///
    /// If they can't be read.
    pub fn find(&self, prefix: &str) -> Result<Vec<Found>, StoreError> {
        self.each(|history| history.find(prefix))
    }

    /// What a run has printed.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn output(&self, found: &Found) -> Result<Output, StoreError> {
        match self.0.iter().find(|(exporter, _)| *exporter == found.exporter) {
            Some((_, history)) => history.output(found.run.begun.id),
            None => Ok(Output::default()),
        }
    }

    fn each(
        &self,
        list: impl Fn(&History) -> Result<Vec<Run>, StoreError>,
    ) -> Result<Vec<Found>, StoreError> {
        let mut all = Vec::new();
        for (exporter, history) in &self.0 {
            let found = |run| Found { exporter: exporter.clone(), run };
            all.extend(list(history)?.into_iter().map(found));
        }
        Ok(all)
    }
}
