//! The stream on which the controller says that a client has dialled; one lease long.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;
use tracing::Instrument as _;

use super::Link;
use super::contact::Contact;
use super::outage::{Outage, reason};
use super::tunnel;
use crate::backoff::Backoff;
use crate::lease::scheduled::Tenure;
use crate::wire::{ListenRequest, ListenResponse};

/// Listens for the clients of every lease that the bench has.
pub(super) async fn keep(link: &Link, contact: &Contact) -> Infallible {
    let mut tenures = link.schedule.tenure();
    loop {
        let tenure = tenures.borrow_and_update().clone();
        if let Some(tenure) = tenure {
            tenure.over.run_until_cancelled(listen(link, contact, &tenure)).await;
        }
        if tenures.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn listen(link: &Link, contact: &Contact, tenure: &Tenure) -> Infallible {
    let mut backoff = Backoff::new(contact.settings.options.pace);
    let who = format!("word of who dials for lease {}", tenure.lease);
    let mut outage = Outage::new(who, &link.bench.activity);
    let (lease, connections) = (tenure.lease.clone(), tenure.connections.clone());
    let _doing = link.bench.activity.begin(move || {
        format!("controller: listens for clients of lease {lease}; {} tunnels", connections.len())
    });
    let mut presence = link.presence.subscribe();
    loop {
        presence.mark_unchanged();
        match follow(link, contact, tenure, &mut backoff, &mut outage).await {
            // Another stream for the same lease has taken the place of this one.
            Ok(()) => tracing::debug!("the controller has ended the listen stream"),
            Err(status) => {
                outage.failed(&reason(&status));
            }
        }
        tokio::select! {
            () = backoff.wait() => {}
            _ = presence.changed() => {}
        }
    }
}

/// How long nothing has to be said against listening for it to be known to work.
const SILENCE: Duration = Duration::from_secs(2);

/// Listens until the stream ends. There is no answer at all before the first client dials.
async fn follow(
    link: &Link,
    contact: &Contact,
    tenure: &Tenure,
    backoff: &mut Backoff,
    outage: &mut Outage,
) -> Result<(), Status> {
    let request = ListenRequest { lease_name: tenure.lease.clone() };
    let mut controller = contact.controller.clone();
    let mut presence = link.presence.subscribe();
    let answer = controller.listen(request);
    tokio::pin!(answer);
    let is_heard = async {
        sleep(SILENCE).await;
        presence.wait_for(|presence| presence.is_there).await.is_ok()
    };
    let dials = tokio::select! {
        dials = &mut answer => dials,
        true = is_heard => {
            backoff.reset();
            outage.over();
            answer.await
        }
    };
    let mut dials = dials?.into_inner();
    while let Some(dial) = dials.message().await? {
        backoff.reset();
        outage.over();
        connect(link, contact, tenure, dial);
    }
    Ok(())
}

fn connect(link: &Link, contact: &Contact, tenure: &Tenure, dial: ListenResponse) {
    let dialled = tunnel::Dialled { at: Instant::now(), dial, over: tenure.over.clone() };
    let carry = tunnel::carry(contact.clone(), dialled, link.tunnels.clone());
    tenure.connections.spawn(carry.in_current_span());
}
