//! What the controller is told: leases that are given back, and the status.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tonic::{Code, Status as RpcStatus};

use super::contact::Contact;
use super::outage::{Outage, reason};
use super::presence::within;
use super::{Link, Presence};
use crate::backoff::Backoff;
use crate::lease::scheduled::Assignment;
use crate::lease::status::{Reader, Status};
use crate::wire::{ExporterStatus, ReleaseLeaseRequest, ReportStatusRequest, UnregisterRequest};

/// What is to be told next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Duty {
    /// Nothing.
    Nothing,
    /// That this lease is over.
    Release(String),
    /// The status.
    Report,
}

/// A publication, as a controller is told of it: how often the controller has come back, and the
/// status's version.
type Telling = (u64, u64);

/// A lease that is over is given back before anything else: AVAILABLE would bring the next one.
fn duty(owed: Option<String>, now: Telling, told: Option<Telling>) -> Duty {
    match owed {
        Some(lease) => Duty::Release(lease),
        None if told != Some(now) => Duty::Report,
        None => Duty::Nothing,
    }
}

/// Tells the controller what there is to be told, whenever it is there. The latest status counts.
pub(super) async fn keep(link: &Link, contact: &Contact) -> Infallible {
    let mut reporter = Reporter::new(contact.clone());
    let mut told = None;
    let mut heard_by = link.presence.borrow().times;
    let mut backoff = Backoff::new(contact.settings.options.pace);
    let mut outage =
        Outage::new("answer to what the controller is told".to_owned(), &link.bench.activity);
    let mut news = News::of(link);
    loop {
        let (present, snapshot) = (news.seen(), link.bench.status.current());
        let now = (present.times, snapshot.version);
        if snapshot.is_farewell {
            told = Some(now);
        }
        // Also where it has come and gone again before it could be told anything.
        let may_be_told = present.is_there || heard_by != present.times;
        let duty = if may_be_told { duty(link.schedule.owed(), now, told) } else { Duty::Nothing };
        let told_now = format!("controller: is told: {duty:?}");
        let _doing =
            (duty != Duty::Nothing).then(|| link.bench.activity.begin(move || told_now.clone()));
        let answer = match duty {
            Duty::Nothing => {
                news.come(snapshot.version).await;
                continue;
            }
            Duty::Release(lease) => {
                let answer = reporter.release(&lease, snapshot.status).await;
                if answer.is_ok() {
                    link.schedule.settle(&lease);
                } else if snapshot.status != Status::Available && told != Some(now) {
                    // While that does not work, people at least see what the bench is doing.
                    let report = reporter.report(snapshot.status, &snapshot.message, false);
                    told = report.await.is_ok().then_some(now);
                }
                answer
            }
            Duty::Report => {
                let answer = reporter.report(snapshot.status, &snapshot.message, false).await;
                told = answer.is_ok().then_some(now);
                answer
            }
        };
        match answer {
            Ok(()) => {
                heard_by = present.times;
                backoff.reset();
                outage.over();
            }
            Err(status) => {
                outage.failed(&reason(&status));
                tokio::select! {
                    () = backoff.wait() => {}
                    _ = news.presence.changed() => {}
                }
            }
        }
    }
}

/// Tells a controller that is about to say who has the bench that nobody can have it now, if that is
/// so. It takes an exporter that was away for ready until it is told something else, and would give it
/// a lease that waits.
pub(super) async fn tell_before_leases(link: &Link, contact: &Contact) {
    let snapshot = link.bench.status.current();
    if snapshot.status != Status::Available
        && let Err(status) =
            Reporter::new(contact.clone()).report(snapshot.status, &snapshot.message, false).await
    {
        // It is told again when it is there.
        tracing::debug!("the controller was not told the status: {}", reason(&status));
    }
}

/// How long to wait before a lease is given back once more at the end.
const LAST_PACE: Duration = Duration::from_millis(500);

/// Tells the controller that the exporter goes. What fails is logged. A lease is given back as often as
/// it takes: whoever has it can't use it any more, and nobody else gets it.
pub(super) async fn farewell(link: &Link, contact: &Contact) {
    let mut reporter = Reporter::new(contact.clone());
    let offline = Status::Offline;
    // Also one that has come too late to be begun: its client had better look elsewhere.
    let lease = match &*link.schedule.assignment().borrow() {
        Assignment::Unheard | Assignment::Vacant => None,
        Assignment::Leased(claim) => Some(claim.name.clone()),
    };
    if let Some(lease) = &lease {
        while let Err(status) = reporter.release(lease, Status::AfterLeaseHook).await {
            tracing::debug!("lease {lease} is not given back yet: {}", reason(&status));
            sleep(LAST_PACE).await;
        }
    }
    let told = reporter.report(offline, "Exporter shutting down", false).await;
    let request = UnregisterRequest { reason: "Exporter shutdown".to_owned() };
    let gone = within(contact.controller.clone().unregister(request)).await.map(drop);
    for (what, answer) in [("that it is offline", told), ("that it goes", gone)] {
        if let Err(status) = answer {
            tracing::warn!("the controller could not be told {what}: {}", reason(&status));
        }
    }
}

/// What may be a reason to tell the controller something.
struct News {
    presence: watch::Receiver<Presence>,
    status: Reader,
    returned: watch::Receiver<Option<String>>,
    assignment: watch::Receiver<Assignment>,
}

impl News {
    fn of(link: &Link) -> Self {
        Self {
            presence: link.presence.subscribe(),
            status: link.bench.status.clone(),
            returned: link.schedule.returned(),
            assignment: link.schedule.assignment(),
        }
    }

    /// Everything up to now is known.
    fn seen(&mut self) -> Presence {
        self.returned.mark_unchanged();
        self.assignment.mark_unchanged();
        *self.presence.borrow_and_update()
    }

    /// Waits for more. The status was seen up to this version.
    async fn come(&mut self, version: u64) {
        tokio::select! {
            _ = self.presence.changed() => {}
            _ = self.returned.changed() => {}
            _ = self.assignment.changed() => {}
            _ = self.status.wait_for(|snapshot| snapshot.version != version) => {}
        }
    }
}

/// Calls the controller.
struct Reporter {
    contact: Contact,
    /// The controller is older than `ReleaseLease` for exporters.
    is_old: bool,
}

impl Reporter {
    fn new(contact: Contact) -> Self {
        Self { contact, is_old: false }
    }

    async fn report(&self, status: Status, text: &str, release: bool) -> Result<(), RpcStatus> {
        let request = ReportStatusRequest {
            status: ExporterStatus::from(status).into(),
            message: Some(text.to_owned()),
            release_lease: release.then_some(true),
        };
        match within(self.contact.controller.clone().report_status(request)).await {
            Ok(_) => Ok(()),
            Err(answer) if answer.code() == Code::Unimplemented => {
                // It schedules by leases alone.
                tracing::debug!("the controller is too old to be told of the status");
                Ok(())
            }
            Err(answer) => Err(answer),
        }
    }

    /// Gives a lease back, in the way that the controller knows.
    async fn release(&mut self, lease: &str, status: Status) -> Result<(), RpcStatus> {
        if !self.is_old {
            let request = ReleaseLeaseRequest { name: lease.to_owned() };
            match within(self.contact.controller.clone().release_lease(request)).await {
                Ok(_) => return Ok(()),
                Err(answer) => match meaning(answer.code()) {
                    Answer::Over => return Ok(()),
                    Answer::Failed => return Err(answer),
                    Answer::Old => self.is_old = true,
                },
            }
        }
        // AVAILABLE would bring another lease before this one is over.
        let status = if status == Status::Available { Status::AfterLeaseHook } else { status };
        let text = "Lease released (compat: ReportStatus with release_lease)";
        self.report(status, text, true).await
    }
}

/// What a controller means that refuses to take a lease back.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The lease is not the bench's any more.
    Over,
    /// It has another way for that.
    Old,
    /// It may work the next time.
    Failed,
}

fn meaning(code: Code) -> Answer {
    match code {
        Code::Ok | Code::NotFound | Code::FailedPrecondition => Answer::Over,
        Code::PermissionDenied
        | Code::InvalidArgument
        | Code::Unauthenticated
        | Code::Unimplemented => Answer::Old,
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Answer::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_given_back_before_the_status_is_told() {
        let owed = || Some("one".to_owned());
        assert_eq!(duty(owed(), (1, 1), None), Duty::Release("one".into()));
        assert_eq!(duty(None, (1, 1), None), Duty::Report);
        assert_eq!(duty(None, (1, 1), Some((1, 1))), Duty::Nothing);
        assert_eq!(duty(None, (1, 2), Some((1, 1))), Duty::Report);
        assert_eq!(duty(None, (2, 1), Some((1, 1))), Duty::Report, "it has come back");
    }

    #[test]
    fn a_refusal_has_a_meaning() {
        assert_eq!(meaning(Code::NotFound), Answer::Over);
        assert_eq!(meaning(Code::Unimplemented), Answer::Old);
        assert_eq!(meaning(Code::Unavailable), Answer::Failed);
    }
}
