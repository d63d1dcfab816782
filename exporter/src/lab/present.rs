//! Leases and exporters as messages of the protocol.

use jiff::{SignedDuration, Timestamp};

use super::desk::Seen;
use super::lease::{How, Lease, Refusal, Stage};
use super::name::Kind;
use super::place::Place;
use super::terms::{TermsError, Wanted};
use crate::lease::status::Status;
use crate::wire::{ExporterStatus, client as wire};

/// What the controller calls a selector that wants nothing.
const NO_SELECTOR: &str = "<none>";

/// A lease.
pub fn lease(seen: &Seen, now: Timestamp) -> wire::Lease {
    let Seen { lease, obstacle } = seen;
    let hold = lease.hold();
    let is_over = lease.has_ended();
    wire::Lease {
        name: Kind::Leases.of(&lease.name),
        selector: if lease.selector.is_empty() {
            NO_SELECTOR.into()
        } else {
            lease.selector.to_string()
        },
        duration: Some(duration(lease.terms.duration)),
        effective_duration: lease.held_for(now).map(duration),
        begin_time: lease.terms.begin.map(timestamp),
        effective_begin_time: hold.map(|hold| timestamp(hold.since)),
        end_time: lease.terms.end.map(timestamp),
        // One that is not over must not have it: clients would take it as over.
        effective_end_time: lease.end().filter(|_| is_over && hold.is_some()).map(timestamp),
        client: Some(Kind::Clients.of(&lease.client)),
        exporter: hold.map(|hold| Kind::Exporters.of(&hold.exporter)),
        conditions: condition(lease, obstacle.as_ref()).into_iter().collect(),
        exporter_name: lease.exporter_name.clone(),
        tags: lease.tags.clone().into_iter().collect(),
        allow_disabled: lease.allow_disabled,
        context: lease.context.clone().into_iter().collect(),
        deprecated_labels: [].into(),
    }
}

/// The one condition that says where a lease stands; before its time, there is none.
fn condition(lease: &Lease, obstacle: Option<&Refusal>) -> Option<wire::Condition> {
    let refusal = |kind, Refusal { reason, message }: &Refusal, at| {
        Some(made(kind, true, reason, message, at))
    };
    match &lease.stage {
        Stage::Scheduled => None,
        Stage::Waiting => obstacle.and_then(|it| refusal("Pending", it, lease.queued())),
        Stage::Held(hold) => {
            let message = format!("{} is the lease's", hold.exporter);
            Some(made("Ready", true, "Ready", &message, hold.since))
        }
        Stage::Ended { how: How::Released, at, .. } => {
            Some(made("Ready", false, "Released", "The lease was released", *at))
        }
        Stage::Ended { how: How::Expired, at, .. } => {
            Some(made("Ready", false, "Expired", "The lease's time is up", *at))
        }
        Stage::Ended { how: How::Unsatisfiable(why), at, .. } => refusal("Unsatisfiable", why, *at),
    }
}

fn made(kind: &str, holds: bool, reason: &str, message: &str, at: Timestamp) -> wire::Condition {
    let time = wire::Time { seconds: Some(at.as_second()), nanos: Some(0) };
    wire::Condition {
        r#type: Some(kind.into()),
        status: Some(if holds { "True" } else { "False" }.into()),
        observed_generation: Some(0),
        last_transition_time: Some(time),
        reason: Some(reason.into()),
        message: Some(message.into()),
    }
}

/// An exporter.
pub fn exporter(name: &str, place: &Place) -> wire::Exporter {
    let now = place.now();
    wire::Exporter {
        name: Kind::Exporters.of(name),
        labels: place.labels().into_iter().collect(),
        online: now.status != Status::Offline,
        status: ExporterStatus::from(now.status).into(),
        status_message: now.message,
        enabled: Some(true),
        deprecated_labels: [].into(),
    }
}

/// The times that a request asks for.
pub fn wanted(lease: &wire::Lease) -> Result<Wanted, TermsError> {
    let time = |at: &prost_types::Timestamp| {
        Timestamp::new(at.seconds, at.nanos).map_err(|_| TermsError::OutOfRange)
    };
    Ok(Wanted {
        begin: lease.begin_time.as_ref().map(time).transpose()?,
        end: lease.end_time.as_ref().map(time).transpose()?,
        // Nanoseconds that overflow, or have another sign, are none.
        duration: lease.duration.as_ref().map(|it| {
            SignedDuration::from_secs(it.seconds)
                .saturating_add(SignedDuration::from_nanos(it.nanos.into()))
        }),
    })
}

/// A time, in whole seconds as the controller's.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: 0 }
}

fn duration(length: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: length.as_secs(), nanos: length.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::lease::Hold;

    fn seen(stage: Stage, obstacle: Option<Refusal>) -> Seen {
        let duration = Some(SignedDuration::from_secs(60));
        let lease = Lease {
            name: "one".into(),
            client: "ann".into(),
            selector: "b!=2,a=1".parse().unwrap(),
            exporter_name: None,
            allow_disabled: false,
            terms: Wanted { duration, ..Wanted::default() }.complete().unwrap(),
            tags: [].into(),
            context: [].into(),
            created: at(1),
            stage,
            deleted: false,
        };
        Seen { lease, obstacle }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(stage: Stage, obstacle: Option<Refusal>) -> (wire::Lease, Option<String>) {
        let message = lease(&seen(stage, obstacle), at(100));
        let words = message
            .conditions
            .first()
            .map(|it| format!("{} {} {}", it.r#type(), it.status(), it.reason()));
        (message, words)
    }

    #[test]
    fn each_stage_is_told_as_the_controller_does() {
        let hold = || Hold { exporter: "bench".into(), since: at(10) };
        let (message, words) = told(Stage::Scheduled, None);
        assert_eq!(words, None);
        assert_eq!(message.name, "namespaces/default/leases/one");
        assert_eq!(message.client(), "namespaces/default/clients/ann");
        assert_eq!(message.selector, "a=1,b notin (2)");
        assert_eq!(message.exporter, None);

        let refusal = Refusal { reason: "NotAvailable".into(), message: "all are leased".into() };
        let (_, words) = told(Stage::Waiting, Some(refusal.clone()));
        assert_eq!(words.as_deref(), Some("Pending True NotAvailable"));

        let (message, words) = told(Stage::Held(hold()), None);
        assert_eq!(words.as_deref(), Some("Ready True Ready"));
        assert_eq!(message.exporter(), "namespaces/default/exporters/bench");
        assert_eq!(message.effective_duration.unwrap().seconds, 90);
        assert_eq!(message.effective_end_time, None, "clients would take it as over");

        let over = |how| Stage::Ended { hold: Some(hold()), at: at(30), how };
        let (message, words) = told(over(How::Expired), None);
        assert_eq!(words.as_deref(), Some("Ready False Expired"));
        assert_eq!(message.effective_end_time.unwrap().seconds, 30);
        assert_eq!(message.effective_duration.unwrap().seconds, 20);
        let (_, words) = told(over(How::Released), None);
        assert_eq!(words.as_deref(), Some("Ready False Released"));
        let unsatisfiable =
            Stage::Ended { hold: None, at: at(30), how: How::Unsatisfiable(refusal) };
        let (message, words) = told(unsatisfiable, None);
        assert_eq!(words.as_deref(), Some("Unsatisfiable True NotAvailable"));
        assert_eq!(message.effective_end_time, None, "it never began");
    }

    #[test]
    fn times_beyond_the_calendar_are_refused() {
        let begin_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        let bad = wire::Lease { begin_time, ..wire::Lease::default() };
        assert_eq!(wanted(&bad), Err(TermsError::OutOfRange));
        let duration = Some(prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN });
        let odd = wire::Lease { duration, ..wire::Lease::default() };
        assert!(wanted(&odd).unwrap().complete().is_err());
    }
}
