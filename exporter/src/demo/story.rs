//! The story of a lease, from the exporter's log.

use std::io::Stdout;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::Client;
use super::screen::{Screen, Voice};
use crate::session::log::{Record, Severity, Source};
use crate::session::service::COMPLETED;

/// Something that is said in the story.
#[derive(Debug)]
pub(super) enum Said {
    /// By the exporter, its hooks or its drivers.
    Exporter(Arc<Record>),
    /// By the client.
    Client(String),
}

/// Tells a lease, and remembers what its summary needs.
#[derive(Debug)]
pub(super) struct Story {
    screen: Screen<Stdout>,
    said: mpsc::Receiver<Said>,
    start: Instant,
    /// When each status came, and how much had happened by then.
    statuses: Vec<(String, Duration, Counts)>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    lines: usize,
    calls: usize,
}

impl Story {
    pub(super) fn new(screen: Screen<Stdout>, said: mpsc::Receiver<Said>) -> Self {
        let (start, counts) = (Instant::now(), Counts::default());
        Self { screen, said, start, statuses: Vec::new(), counts }
    }

    /// Tells a whole lease, with `client` as its client.
    pub(super) async fn tell(&mut self, client: &Client) -> anyhow::Result<()> {
        self.until("LEASE_READY").await?;
        let mut uses = std::pin::pin!(client.use_bench());
        loop {
            tokio::select! {
                Some(said) = self.said.recv() => self.show(&said)?,
                used = &mut uses => break used?,
            }
        }
        client.end_session().await?;
        self.until("AVAILABLE").await?;
        self.summary()
    }

    /// Goes on telling whatever happens.
    pub(super) async fn go_on(&mut self) -> anyhow::Result<()> {
        while let Some(said) = self.said.recv().await {
            self.show(&said)?;
        }
        Ok(())
    }

    /// Says what to try while the bench is up.
    pub(super) fn next_steps(&mut self, address: SocketAddr, j: &Path) -> anyhow::Result<()> {
        let j = j.display();
        self.screen.plain(&format!(
            "\nThe bench stays up. Try, in another terminal:\n\n  \
             export JUMPSTARTER_HOST={address} JMP_GRPC_INSECURE=1\n  \
             {j} power read\n  \
             {j} serial start-console\n\n\
             or, with Jumpstarter's own client:\n\n  \
             jmp shell --tls-grpc {address} --tls-grpc-insecure -- j power read\n\n\
             Ctrl-C ends it.\n"
        ))?;
        Ok(())
    }

    /// Shows everything up to a status.
    async fn until(&mut self, wanted: &str) -> anyhow::Result<()> {
        while let Some(said) = self.said.recv().await {
            self.show(&said)?;
            match self.statuses.last() {
                Some((status, ..)) if status == wanted => return Ok(()),
                Some((status, ..)) if status.ends_with("_FAILED") => bail!("{status}"),
                Some(_) | None => {}
            }
        }
        bail!("the exporter has ended before it was {wanted}")
    }

    fn show(&mut self, said: &Said) -> anyhow::Result<()> {
        let at = self.start.elapsed();
        let record = match said {
            Said::Exporter(record) => record,
            Said::Client(line) => return Ok(self.screen.line(at, Voice::Client, line)?),
        };
        let field =
            |name: &str| record.fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        let (voice, text) = match record.source {
            Source::BeforeLeaseHook | Source::AfterLeaseHook => {
                self.counts.lines += 1;
                (Voice::Hook, record.message.clone())
            }
            Source::System => match field("status") {
                Some(status) => {
                    self.statuses.push((status.clone(), at, self.counts));
                    (Voice::Status, record.message.clone())
                }
                None if record.severity >= Severity::Warning => {
                    (Voice::Trouble, record.message.clone())
                }
                None => return Ok(()),
            },
            Source::Driver => match (field("driver"), &record.operation) {
                (Some(driver), Some(operation)) if record.message == COMPLETED => {
                    self.counts.calls += 1;
                    (Voice::Call, format!("{driver} {operation}"))
                }
                (Some(_) | None, _) if record.severity >= Severity::Warning => {
                    (Voice::Trouble, record.message.clone())
                }
                (Some(_) | None, _) => return Ok(()),
            },
        };
        Ok(self.screen.line(at, voice, &text)?)
    }

    fn summary(&mut self) -> anyhow::Result<()> {
        let mut text = String::from("\nSummary\n");
        for pair in self.statuses.windows(2) {
            let [(status, from, before), (_, to, after)] = pair else { continue };
            let (lines, calls) = (after.lines - before.lines, after.calls - before.calls);
            let took = *to - *from;
            text.push_str(&format!(
                "  {status:<18} {:>7.1} ms  {lines:>2} hook lines  {calls:>2} driver calls\n",
                took.as_secs_f64() * 1000.0
            ));
        }
        self.screen.plain(&text)?;
        Ok(())
    }
}
