//! A hook that is tried out by its author.

use std::sync::Arc;

use anyhow::anyhow;
use hooks::Stop;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::without_leases;
use crate::config::Config;
use crate::lifecycle::rehearsal;
use crate::session::Session;
use crate::session::log::Record;
use crate::store::HookEvent;

/// Runs the hooks of an event for their author. Shows `show` what clients would see, with the
/// seconds since the start; returns whether the hooks did what they should.
///
/// # Errors
///
/// Names the driver that can't be built or opened.
pub async fn rehearse(
    config: &Config,
    event: HookEvent,
    client: &str,
    stop: &Stop,
    show: impl Fn(f64, &Record),
) -> anyhow::Result<bool> {
    let (publisher, bench) = without_leases(config, Some(config.metadata.name.clone()))?;
    let session = match rehearsal::lease_in(event, client) {
        Some(lease) => {
            Session::open(Arc::clone(&bench), lease, true).await.map_err(|error| anyhow!(error))?
        }
        None => Session::open_between_leases(&bench, |_| true).await,
    };
    publisher.publish(rehearsal::status_in(event), String::new());
    let (start, mut reader) = (Instant::now(), bench.log.reader());
    let run = rehearsal::run(config, event, session.scene(), &bench.log, stop);
    let run = run.instrument(bench.span.clone());
    tokio::pin!(run);
    let passed = loop {
        tokio::select! {
            biased;
            record = reader.next() => show(start.elapsed().as_secs_f64(), &record),
            passed = &mut run => break passed,
        }
    };
    while let Some(record) = reader.try_next() {
        show(start.elapsed().as_secs_f64(), &record);
    }
    publisher.end_period();
    bench.tree().close().await;
    bench.serving.cancel();
    Ok(passed)
}
