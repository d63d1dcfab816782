//! What systemd is told, where it has started the exporter with `Type=notify`.

use std::time::Duration;

use sd_notify::NotifyState;

/// The exporter serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The exporter is going, and may take so long from now on. systemd's `TimeoutStopSec` no longer
/// counts if that is shorter.
pub fn stopping(within: Duration) {
    // systemd reads 64 bits; the crate's own variant has 32, which end after 71 minutes.
    let within = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
    tell(&[NotifyState::Stopping, NotifyState::Custom(&within)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("can't tell the service manager {state:?}: {error}");
    }
}
