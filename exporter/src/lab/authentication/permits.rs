//! How much a client may ask at a time. The rest waits, so that everybody else gets their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::super::refused::Refused;

/// How many requests of a client are worked on at a time.
const AT_ONCE: usize = 16;

/// The permits of every client that asks something.
#[derive(Debug, Default)]
pub(super) struct Permits(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Permits {
    /// The client's turn.
    pub(super) async fn of(&self, client: &str) -> Result<OwnedSemaphorePermit, Status> {
        let semaphore = {
            let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that ask nothing any more are forgotten.
            clients.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            let own =
                clients.entry(client.into()).or_insert_with(|| Semaphore::new(AT_ONCE).into());
            Arc::clone(own)
        };
        semaphore.acquire_owned().await.map_err(|_| Refused::Stopping.into())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_that_asks_much_waits_for_itself_alone() {
        let permits = Permits::default();
        let mut own = Vec::new();
        for _ in 0..AT_ONCE {
            own.push(permits.of("ann").await.unwrap());
        }
        assert!(permits.of("ann").now_or_never().is_none());
        assert!(permits.of("bob").now_or_never().is_some());
        own.pop();
        assert!(permits.of("ann").now_or_never().is_some());
        drop(own);
        assert!(permits.of("carol").await.is_ok());
        assert_eq!(permits.0.lock().unwrap().len(), 1, "who is gone is forgotten");
    }
}
