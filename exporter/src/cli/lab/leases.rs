//! `hilt lab leases`: who has what, and who waits.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use super::Which;
use crate::lab::lease::{Lease, Stage};
use crate::lab::store::Database;

/// List the leases that are not over.
#[derive(Debug, Args)]
pub(super) struct Leases {
    #[command(flatten)]
    which: Which,
}

impl Leases {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut leases = Database::open(&self.which.open()?)?.live_leases()?;
        leases.sort_by_key(|lease| (lease.hold().is_none(), lease.queued(), lease.name.clone()));
        for lease in &leases {
            writeln!(io::stdout(), "{}", in_words(lease))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn in_words(lease: &Lease) -> String {
    let wants = match (&lease.exporter_name, lease.selector.to_string()) {
        (Some(exporter), _) => exporter.clone(),
        (None, selector) => selector,
    };
    let stands = match &lease.stage {
        Stage::Held(hold) => format!("has {} since {:.0}", hold.exporter, hold.since),
        Stage::Waiting => format!("waits for {wants} since {:.0}", lease.queued()),
        Stage::Scheduled => format!("waits until {:.0} for {wants}", lease.queued()),
        Stage::Ended { how, .. } => format!("is over: {how}"),
    };
    let until = lease.end().map_or_else(String::new, |end| format!(", until {end:.0}"));
    format!("{}: {} {stands}{until}", lease.name, lease.client)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::lab::lease::Hold;
    use crate::lab::terms::Wanted;

    #[test]
    fn each_is_one_line() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let duration = Some(SignedDuration::from_secs(60));
        let mut lease = Lease {
            name: "one".into(),
            client: "ann".into(),
            selector: "board=x".parse().unwrap(),
            exporter_name: None,
            allow_disabled: false,
            terms: Wanted { duration, ..Wanted::default() }.complete().unwrap(),
            tags: [].into(),
            context: [].into(),
            created: at(0),
            stage: Stage::Waiting,
            deleted: false,
        };
        assert_eq!(in_words(&lease), "one: ann waits for board=x since 1970-01-01T00:00:00Z");
        lease.stage = Stage::Held(Hold { exporter: "bench".into(), since: at(1) });
        assert_eq!(
            in_words(&lease),
            "one: ann has bench since 1970-01-01T00:00:01Z, until 1970-01-01T00:01:01Z"
        );
    }
}
