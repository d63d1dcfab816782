//! A port that another program has for a while: a flasher that talks to the board's boot loader.
//!
//! The loan is a stream. Its first chunk says what to open, as a line of JSON; from then on the
//! exporter has closed the device, and it stays closed for as long as the stream is open. However
//! the stream ends, also with a borrower that was killed, the exporter opens the device again, and
//! the port's own streams, which have waited, go on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::console::Console;
use super::device::Claim;
use super::port::{Port, State};
use super::url::Target;
use crate::{ByteStream, ChunkReader, ChunkWriter, DriverError, Result};

/// Lends the port to another program.
///
/// # Errors
///
/// [`DriverError::Busy`] if somebody else has borrowed it, or it has not sent all that was written.
pub(super) async fn borrow(console: &Arc<Console>) -> Result<ByteStream> {
    let (port, host) = match console.target() {
        // Whoever borrows a device has to be on its host; a server can be reached from others.
        Target::Device(path) => (path.clone(), boot_id()),
        target @ (Target::Socket(_) | Target::Rfc2217(_)) => (target.to_string(), None),
        Target::Loop => return Err(console.no_device()),
    };
    let lent = console.lend().await.ok_or_else(|| {
        DriverError::Busy(format!("{port} is borrowed by another program already"))
    })?;
    let session = console.session();
    let states = lent.states();
    let mut loan = Loan { console: Arc::clone(console), port: Some(lent), claim: None };
    // From here on, the loan's end takes the port back.
    loan.claim = Some(console.claim().await?);
    tracing::info!("{port} is lent to another program");
    let terms = Bytes::from(format!("{}\n", json!({"port": port, "boot_id": host})));
    let reader = Reader { terms: Some(terms), states, session, _loan: loan };
    Ok(ByteStream { reader: Box::new(reader), writer: Box::new(Writer) })
}

/// What tells this host, since it was started, from all others.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// A port that is lent; dropping this takes it back.
struct Loan {
    console: Arc<Console>,
    /// Taken when the loan ends.
    port: Option<Arc<Port>>,
    /// Makes sure that the device is closed, and that nobody of this exporter opens it.
    claim: Option<Claim>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.claim.take());
        // Without a runtime there are no streams that wait.
        if let (Some(port), Ok(runtime)) = (self.port.take(), Handle::try_current()) {
            let console = Arc::clone(&self.console);
            let taken_back = async move { console.take_back(port).await };
            self.console.tasks().spawn_on(taken_back, &runtime);
        }
    }
}

struct Reader {
    /// What is to be said yet.
    terms: Option<Bytes>,
    states: watch::Receiver<State>,
    session: CancellationToken,
    _loan: Loan,
}

#[async_trait]
impl ChunkReader for Reader {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if let Some(terms) = self.terms.take() {
            return Ok(Some(terms));
        }
        let ended = |state: &State| matches!(state, State::Closed | State::Lost(_));
        tokio::select! {
            () = self.session.cancelled() => {}
            // The port outlives its loan.
            _ = self.states.wait_for(ended) => {}
        }
        Ok(None)
    }
}

/// A borrower has nothing to say.
struct Writer;

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
