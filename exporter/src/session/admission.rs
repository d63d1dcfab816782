//! Who may call a driver, and when.
//!
//! This is the only gate. Reports, the status and logs are open at any time and to everybody who
//! can connect; devices are not.

use tokio_util::sync::CancellationToken;
use tonic::Status as RpcStatus;

use crate::lease::status::{Snapshot, Status};

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of the lease.
    Client,
    /// A hook of this exporter, through its private socket.
    Hook,
}

/// The right to use the devices until the exporter does something else.
#[derive(Debug, Clone)]
pub struct Permit {
    period: CancellationToken,
}

/// Decides about a call.
///
/// # Errors
///
/// FAILED_PRECONDITION in the words that clients know.
pub fn admit(now: &Snapshot, origin: Origin) -> Result<Permit, RpcStatus> {
    if !may_call(now.status, origin) || now.period.is_cancelled() {
        return Err(not_ready(now.status));
    }
    Ok(Permit { period: now.period.clone() })
}

fn may_call(status: Status, origin: Origin) -> bool {
    match (status, origin) {
        (Status::LeaseReady, Origin::Client | Origin::Hook)
        | (Status::BeforeLeaseHook | Status::AfterLeaseHook, Origin::Hook) => true,
        (Status::BeforeLeaseHook | Status::AfterLeaseHook, Origin::Client)
        | (
            Status::Offline
            | Status::Available
            | Status::BeforeLeaseHookFailed
            | Status::AfterLeaseHookFailed,
            Origin::Client | Origin::Hook,
        ) => false,
    }
}

fn not_ready(status: Status) -> RpcStatus {
    let message = format!("Exporter not ready for driver calls (status: {status})");
    RpcStatus::failed_precondition(message)
}

impl Permit {
    /// Does something for as long as the permit lasts.
    ///
    /// # Errors
    ///
    /// FAILED_PRECONDITION if the exporter has gone on to something else before it was done.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, RpcStatus> {
        tokio::select! {
            // What is done is done, even if the permit ends at the same moment.
            biased;
            done = work => Ok(done),
            () = self.period.cancelled() => Err(Self::over()),
        }
    }

    /// What a call is told whose permit has ended.
    pub fn over() -> RpcStatus {
        RpcStatus::failed_precondition(
            "Exporter not ready for driver calls: the lease has gone on while this call was running",
        )
    }

    /// Ends with the permit.
    pub fn period(&self) -> &CancellationToken {
        &self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::status::Publisher;

    const STATUSES: [Status; 7] = [
        Status::Offline,
        Status::Available,
        Status::BeforeLeaseHook,
        Status::LeaseReady,
        Status::AfterLeaseHook,
        Status::BeforeLeaseHookFailed,
        Status::AfterLeaseHookFailed,
    ];

    #[test]
    fn a_client_may_call_in_lease_ready_only_and_a_hook_around_it_too() {
        let (publisher, reader) = Publisher::new();
        let admitted = |origin| {
            let admitted = STATUSES.into_iter().filter(|status| {
                publisher.publish(*status, String::new());
                admit(&reader.current(), origin).is_ok()
            });
            admitted.collect::<Vec<_>>()
        };
        assert_eq!(admitted(Origin::Client), [Status::LeaseReady]);
        assert_eq!(
            admitted(Origin::Hook),
            [Status::BeforeLeaseHook, Status::LeaseReady, Status::AfterLeaseHook]
        );
    }

    #[test]
    fn a_refusal_says_what_the_exporter_is_doing() {
        let (publisher, reader) = Publisher::new();
        publisher.publish(Status::BeforeLeaseHook, String::new());
        let refusal = admit(&reader.current(), Origin::Client).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
        assert_eq!(
            refusal.message(),
            "Exporter not ready for driver calls (status: BEFORE_LEASE_HOOK)"
        );
    }

    #[tokio::test]
    async fn what_was_admitted_ends_with_the_status() {
        let (publisher, reader) = Publisher::new();
        publisher.publish(Status::LeaseReady, String::new());
        let permit = admit(&reader.current(), Origin::Client).unwrap();
        assert!(permit.during(async {}).await.is_ok());
        publisher.publish(Status::AfterLeaseHook, String::new());
        assert!(permit.during(std::future::pending::<()>()).await.is_err());

        publisher.publish(Status::LeaseReady, String::new());
        publisher.end_period();
        assert!(admit(&reader.current(), Origin::Client).is_err());
    }
}
