//! What the lab refuses, in the codes and words of the controller, by which clients go.
//!
//! Whatever is nobody's business but the client's own has the code UNKNOWN there, which `jmp` shows as
//! one line. The word *expired* is for tokens alone: it makes clients log in again.

use tonic::{Code, Status};

use super::name::NAMESPACE;
use super::quote::quoted;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such lease.
    #[error("leases.jumpstarter.dev {} not found", quoted(.0))]
    NoLease(String),
    /// There is no such exporter.
    #[error("exporters.jumpstarter.dev {} not found", quoted(.0))]
    NoExporter(String),
    /// There is no such client.
    #[error("client {NAMESPACE}/{}: not found", quoted(.0))]
    NoClient(String),
    /// Whom the lease is to go to is nobody.
    #[error("target client not found: {}", quoted(.0))]
    NoTarget(String),
    /// The name is taken, also if its lease is over.
    #[error("leases.jumpstarter.dev {} already exists", quoted(.0))]
    Exists(String),
    /// It can't be a name.
    #[error("the lease name {} is not lower-case letters, digits, '-' and '.'", quoted(.0))]
    BadName(String),
    /// The lease is somebody else's.
    #[error("{0} permission denied")]
    NotYours(&'static str),
    /// Somebody else's, when dialling: clients take the lease as transferred.
    #[error("permission denied")]
    DialNotYours,
    /// No name was given.
    #[error("empty lease name")]
    NoName,
    /// The lease has no exporter, not yet or not any more.
    #[error("lease not active")]
    NotActive,
    /// It has one, so its beginning is in the past.
    #[error("cannot update BeginTime: lease has already started")]
    Started,
    /// It is over.
    #[error("cannot update lease: lease has already ended")]
    Over,
    /// Only what somebody has can be handed over.
    #[error("cannot transfer lease: lease has not started yet")]
    NotStarted,
    /// There is no other namespace.
    #[error("cannot transfer lease to client in different namespace")]
    OtherNamespace,
    /// It was given back before.
    #[error("lease {} has already been released", quoted(.0))]
    Released(String),
    /// The exporter does not serve.
    #[error("exporter is offline")]
    Offline,
    /// The exporter is still being prepared; clients try again.
    #[error("exporter is not ready (status: Available)")]
    NotReady,
    /// A client has more of something than anybody needs.
    #[error("client {client} has {count} {what}, and that is the limit")]
    TooMany {
        /// The client.
        client: String,
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// The lab has more leases than anybody needs.
    #[error("the lab has {0} leases that are not over, and that is the limit")]
    Full(usize),
    /// What was asked for makes no sense, in its own words.
    #[error("{0}")]
    Invalid(String),
    /// The lab can't look it up.
    #[error("the lab's store does not answer: {0}")]
    Store(String),
    /// The lab stops.
    #[error("the lab is shutting down")]
    Stopping,
}

impl Refused {
    fn code(&self) -> Code {
        match self {
            Self::NoLease(_)
            | Self::NoExporter(_)
            | Self::NoClient(_)
            | Self::NoTarget(_)
            | Self::Exists(_)
            | Self::BadName(_)
            | Self::NotYours(_)
            | Self::DialNotYours
            | Self::NoName
            | Self::NotActive
            | Self::Started
            | Self::Over
            | Self::NotStarted
            | Self::OtherNamespace
            | Self::Invalid(_) => Code::Unknown,
            Self::Released(_) | Self::Offline | Self::NotReady => Code::FailedPrecondition,
            Self::TooMany { .. } | Self::Full(_) => Code::ResourceExhausted,
            Self::Store(_) | Self::Stopping => Code::Unavailable,
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_go_by_is_said_as_they_know_it() {
        let said = |refused: Refused| {
            let status = Status::from(refused);
            (status.code(), status.message().to_owned())
        };
        let (code, message) = said(Refused::NotReady);
        assert_eq!(code, Code::FailedPrecondition);
        assert!(message.contains("not ready"), "clients try again");
        let (code, message) = said(Refused::DialNotYours);
        assert_eq!((code, &*message), (Code::Unknown, "permission denied"));
        let (code, message) = said(Refused::Released("one".into()));
        assert_eq!(code, Code::FailedPrecondition);
        assert_eq!(message, "lease \"one\" has already been released");
        let (_, message) = said(Refused::NoLease("x\n".repeat(1 << 20)));
        assert!(message.len() < 300 && !message.contains('\n'));
    }
}
