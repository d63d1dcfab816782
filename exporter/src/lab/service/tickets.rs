//! What a client that has dialled may connect with: once, soon, and for one lease.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use tonic::Status;

use super::super::refused::Refused;
use super::super::token::random;

/// How long a ticket may be used.
const LIFE: Duration = Duration::from_secs(120);

/// How many of a lease may be there at a time. Some clients dial and never come.
const PER_LEASE: usize = 64;

/// What somebody may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Who.
    pub client: String,
    /// With which lease.
    pub lease: String,
    /// To which exporter.
    pub exporter: String,
}

/// The tickets that nobody has used yet.
#[derive(Debug, Default)]
pub struct Tickets {
    unused: HashMap<String, (Instant, Ticket)>,
    /// How many of each lease.
    counts: BTreeMap<String, usize>,
}

impl Tickets {
    /// Makes a ticket.
    pub fn issue(&mut self, ticket: Ticket, now: Instant) -> Result<String, Status> {
        self.expire(now);
        let count = self.counts.entry(ticket.lease.clone()).or_default();
        if *count >= PER_LEASE {
            let message = format!("listener buffer full on lease {}", ticket.lease);
            return Err(Status::resource_exhausted(message));
        }
        let token = random(32).map_err(Refused::Store)?;
        *count += 1;
        let token = URL_SAFE_NO_PAD.encode(token);
        self.unused.insert(token.clone(), (now + LIFE, ticket));
        Ok(token)
    }

    /// Takes a ticket, which is worth nothing from then on.
    pub fn redeem(&mut self, token: &str, now: Instant) -> Option<Ticket> {
        let (until, ticket) = self.unused.remove(token)?;
        self.uncount(&ticket.lease);
        (now < until).then_some(ticket)
    }

    fn expire(&mut self, now: Instant) {
        let old = self.unused.extract_if(|_, (until, _)| *until <= now);
        for (_, (_, ticket)) in old.collect::<Vec<_>>() {
            self.uncount(&ticket.lease);
        }
    }

    fn uncount(&mut self, lease: &str) {
        if let Some(count) = self.counts.get_mut(lease) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(lease);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(lease: &str) -> Ticket {
        Ticket { client: "ann".into(), lease: lease.into(), exporter: "bench".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_a_while() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let token = tickets.issue(ticket("one"), now).unwrap();
        assert_eq!(tickets.redeem("other", now), None);
        assert_eq!(tickets.redeem(&token, now), Some(ticket("one")));
        assert_eq!(tickets.redeem(&token, now), None, "a second time");
        let token = tickets.issue(ticket("one"), now).unwrap();
        assert_eq!(tickets.redeem(&token, now + LIFE), None, "too late");
        assert!(tickets.unused.is_empty() && tickets.counts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_dials_and_never_comes_is_stopped_alone() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..PER_LEASE {
            tickets.issue(ticket("one"), now).unwrap();
        }
        let refused = tickets.issue(ticket("one"), now).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(refused.message(), "listener buffer full on lease one");
        assert!(tickets.issue(ticket("two"), now).is_ok());
        assert!(tickets.issue(ticket("one"), now + LIFE).is_ok(), "those are over");
        assert_eq!(tickets.unused.len(), 1);
    }
}
