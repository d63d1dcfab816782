//! `hilt status`: what every bench of this host is doing, and why.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::running::Running;
use crate::control::{BenchStatus, Client};

/// Show what every bench of this host is doing, and why.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    running: Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut statuses = Vec::new();
        let mut code = ExitCode::SUCCESS;
        super::runtime()?.block_on(async {
            for exporter in self.running.all()? {
                let status = async { Client::new(&exporter.dir)?.status().await };
                match status.await {
                    Ok(status) => statuses.push(status),
                    Err(error) => {
                        writeln!(io::stderr(), "hilt: {}: {error}", exporter.exporter)?;
                        code = ExitCode::FAILURE;
                    }
                }
            }
            anyhow::Ok(())
        })?;
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(&statuses)? + "\n",
            Format::Text if statuses.is_empty() && code == ExitCode::SUCCESS => {
                "no exporter is running\n".to_owned()
            }
            Format::Text => {
                let now = Timestamp::now();
                statuses.iter().map(|status| in_words(status, now)).collect()
            }
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(code)
    }
}

fn in_words(status: &BenchStatus, now: Timestamp) -> String {
    let BenchStatus { exporter, pid, status, message, since, lease, quarantine, failures } = status;
    let mut lines = vec![
        format!("{exporter}: {status} for {}: {message}", ago(*since, now)),
        format!("  process {pid}"),
    ];
    if let Some(lease) = lease {
        let of = if lease.client.is_empty() { "" } else { " of " };
        lines.push(format!("  lease {}{of}{}", lease.name, lease.client));
    }
    if let Some(quarantine) = quarantine {
        lines.push(format!("  quarantined since {}: {}", quarantine.since, quarantine.reason));
        lines.push(format!("  `hilt release {exporter}` takes it back into service"));
    }
    if *failures > 0 {
        lines.push(format!("  {failures} failed in a row"));
    }
    lines.join("\n") + "\n"
}

/// How long ago something was, in whole seconds or longer units.
fn ago(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::LeaseStatus;
    use crate::lease::overview::QuarantineOverview;

    #[test]
    fn a_status_tells_since_when_and_why() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut status = BenchStatus {
            exporter: "demo".into(),
            pid: 42,
            status: "LEASE_READY".into(),
            message: "Ready for commands".into(),
            since: at(0),
            lease: Some(LeaseStatus { name: "lease-1".into(), client: "alice".into() }),
            quarantine: None,
            failures: 0,
        };
        assert_eq!(
            in_words(&status, at(61)),
            "demo: LEASE_READY for 1 min 1 s: Ready for commands\n  process 42\n  lease lease-1 of alice\n"
        );
        status.lease = None;
        status.failures = 5;
        status.quarantine = Some(QuarantineOverview { reason: "no serial".into(), since: at(0) });
        assert_eq!(
            in_words(&status, at(3 * 3600)).lines().skip(2).collect::<Vec<_>>(),
            [
                "  quarantined since 1970-01-01T00:00:00Z: no serial",
                "  `hilt release demo` takes it back into service",
                "  5 failed in a row",
            ]
        );
    }

    #[test]
    fn a_time_has_two_units_at_most() {
        let told = |seconds| ago(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap());
        assert_eq!(told(0), "0 s");
        assert_eq!(told(59), "59 s");
        assert_eq!(told(60), "1 min 0 s");
        assert_eq!(told(3 * 3600 + 61), "3 h 1 min");
        assert_eq!(told(2 * 86400 + 3 * 3600), "2 d 3 h");
    }
}
