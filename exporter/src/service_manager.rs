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
    // The protocol counts microseconds in 32 bits here: 71 minutes. Who needs longer says so again.
    let within = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(within)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("can't tell the service manager {state:?}: {error}");
    }
}
