//! Being there: registration, and the stream on which the controller says who has the bench.

use std::convert::Infallible;

use tokio::time::timeout;
use tonic::Status;

use super::contact::Contact;
use super::outage::{Outage, reason};
use super::{ANSWER, Link, report};
use crate::backoff::Backoff;
use crate::lease::scheduled::{Assignment, Claim};
use crate::wire::{RegisterRequest, StatusRequest, StatusResponse};

/// Stays registered, and listens to what the controller says.
pub(super) async fn keep(link: &Link, contact: &Contact) -> Infallible {
    let mut backoff = Backoff::new(contact.settings.options.pace);
    let mut outage =
        Outage::new(format!("controller at {}", contact.settings.target), &link.bench.activity);
    loop {
        let lost = match attend(link, contact, &mut backoff, &mut outage).await {
            Ok(()) => "it has ended the status stream".to_owned(),
            Err(status) => reason(&status),
        };
        let was_there = link.presence.borrow().is_there;
        link.presence.send_modify(|presence| presence.is_there = false);
        // Controllers end their streams now and then, and that is no reason to alarm anybody.
        if was_there {
            tracing::info!("the controller is not heard any more: {lost}; connecting anew");
        } else if outage.failed(&lost) {
            // Whoever can be reached again, and still refuses, may do so for a moment only.
            backoff.reset();
        }
        backoff.wait().await;
    }
}

/// Registers and listens until the stream ends.
async fn attend(
    link: &Link,
    contact: &Contact,
    backoff: &mut Backoff,
    outage: &mut Outage,
) -> Result<(), Status> {
    let mut trees = link.bench.trees();
    trees.mark_unchanged();
    let mut registered = link.bench.report().reports;
    register(link, contact).await?;
    report::tell_before_leases(link, contact).await;
    let mut controller = contact.controller.clone();
    let mut statuses = within(controller.status(StatusRequest {})).await?.into_inner();
    // It is sent at once.
    let mut status = within(statuses.message()).await?;
    let target = contact.settings.target.clone();
    let shown = move || format!("controller: registered at {target}, hears of leases");
    let _doing = link.bench.activity.begin(shown);
    while let Some(said) = status {
        follow(link, said);
        if !link.presence.borrow().is_there {
            link.presence.send_modify(|presence| {
                presence.is_there = true;
                presence.times += 1;
            });
            tracing::info!("registered with the controller at {}", contact.settings.target);
            backoff.reset();
            outage.over();
        }
        status = loop {
            tokio::select! {
                status = statuses.message() => break status?,
                Ok(()) = trees.changed() => {
                    let devices = link.bench.report().reports;
                    if devices != registered {
                        register(link, contact).await?;
                        registered = devices;
                    }
                }
            }
        };
    }
    Ok(())
}

async fn register(link: &Link, contact: &Contact) -> Result<(), Status> {
    let report = link.bench.report();
    let request = RegisterRequest { labels: report.labels, reports: report.reports };
    within(contact.controller.clone().register(request)).await?;
    Ok(())
}

fn follow(link: &Link, said: StatusResponse) {
    tracing::debug!(?said, "status");
    match assignment(said) {
        Some(assignment) => link.schedule.say(assignment),
        None => tracing::warn!("the controller speaks of a lease without a name"),
    }
}

fn assignment(said: StatusResponse) -> Option<Assignment> {
    let StatusResponse { leased, lease_name, client_name, context } = said;
    if !leased {
        return Some(Assignment::Vacant);
    }
    let name = lease_name.filter(|name| !name.is_empty())?;
    let client = client_name.unwrap_or_default();
    Some(Assignment::Leased(Claim { name, client, context: context.into_iter().collect() }))
}

/// The answer to a call that is to be answered soon.
pub(super) async fn within<T>(
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    timeout(ANSWER, answer).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!("no answer for {} s", ANSWER.as_secs())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_a_name() {
        let leased = |name: Option<&str>| {
            let lease_name = name.map(str::to_owned);
            assignment(StatusResponse { leased: true, lease_name, ..StatusResponse::default() })
        };
        let claim = Claim { name: "one".into(), ..Claim::default() };
        assert_eq!(leased(Some("one")), Some(Assignment::Leased(claim)));
        assert_eq!((leased(None), leased(Some(""))), (None, None));
        assert_eq!(assignment(StatusResponse::default()), Some(Assignment::Vacant));
    }
}
