//! Who is at the other end of a connection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::admission::Origin;
use crate::lease::status::Viewer;

/// What is known of a connection; every request on it carries a clone.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where its calls come from.
    pub origin: Origin,
    /// What it has seen of the status. The last clone goes with the connection.
    pub viewer: Arc<Viewer>,
    /// Cancelled when the lease is over through which it has come.
    pub over: CancellationToken,
}

impl Peer {
    /// The peer of a request.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE if the lease is over through which it could reach the bench.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        let peer: &Self = request
            .extensions()
            .get()
            .ok_or_else(|| Status::internal("a request has come without its connection"))?;
        if peer.over.is_cancelled() {
            return Err(Status::unavailable("the lease of this connection is over"));
        }
        Ok(peer)
    }
}
