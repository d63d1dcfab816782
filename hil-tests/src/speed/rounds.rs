//! What all measurements share: how often each subject has its turn, and benches to start it on.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::client::Client;
use super::each::Each;
use crate::bench::Bench;
use crate::prepared::Prepared;
use crate::subject::{Exporter, Subject};

/// The settings of a run.
#[derive(Debug)]
pub(super) struct Rounds {
    prepared: Prepared,
    count: usize,
    /// The size of an image for a device, in MiB.
    pub(super) image: u32,
}

/// How long a rate is measured in one round.
pub(super) const WHILE: Duration = Duration::from_millis(600);

impl Rounds {
    pub(super) const fn new(prepared: Prepared, quick: bool) -> Self {
        let (count, image) = if quick { (3, 256) } else { (7, 1024) };
        Self { prepared, count, image }
    }

    /// The subjects in turn, round by round; each is the first, the second and the last equally
    /// often.
    pub(super) fn turns(&self) -> impl Iterator<Item = Subject> + use<> {
        turns(self.count)
    }

    /// A bench to start a subject on.
    pub(super) fn bench(&self, subject: Subject) -> Result<Bench> {
        Bench::new(subject, &[], self.prepared.clone())
    }

    /// A bench for each.
    pub(super) fn benches(&self) -> Result<Each<Bench>> {
        Each::new(|subject| self.bench(subject))
    }
}

fn turns(count: usize) -> impl Iterator<Item = Subject> {
    const ALL: [Subject; 3] = [Subject::Hilt, Subject::Python, Subject::Bare];
    (0..count).flat_map(|round| (0..ALL.len()).map(move |turn| ALL[(round + turn) % ALL.len()]))
}

/// Subjects that run side by side, each used when it is its turn.
#[derive(Debug)]
pub(super) struct Exporters<'b>(Each<Exporter<'b>>);

impl<'b> Exporters<'b> {
    /// Starts all three with the same configuration, and returns when they are ready for calls.
    pub(super) async fn start(
        benches: &'b Each<Bench>,
        body: impl Fn(Subject) -> String,
    ) -> Result<Self> {
        let exporters = Each::new(|subject| {
            Exporter::with(&benches[subject], &body(subject)).unheard().launch()
        })?;
        let exporters = Self(exporters);
        for subject in turns(1) {
            exporters.client(subject).await?.is_ready().await?;
        }
        Ok(exporters)
    }

    /// A connection to one of them.
    pub(super) async fn client(&self, subject: Subject) -> Result<Client> {
        Client::patient(self.address(subject)).await
    }

    pub(super) fn address(&self, subject: Subject) -> SocketAddr {
        self.0[subject].address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_the_same_turns_in_every_place() {
        let turns: Vec<_> = turns(3).collect();
        for subject in [Subject::Hilt, Subject::Python, Subject::Bare] {
            for place in 0..3 {
                let there = turns.chunks(3).filter(|round| round[place] == subject);
                assert_eq!(there.count(), 1);
            }
        }
    }
}
