//! Connecting by TCP to a host that may have several addresses, some of which may not answer.
//!
//! This is RFC 8305 ("happy eyeballs") without its refinements: addresses are tried in the
//! resolver's order with the families taking turns, a new one whenever one has failed or has not
//! answered for a moment, and the first to answer wins.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Endpoint;
use crate::{DriverError, Result};

/// How long a connection may take to be made. A DUT that is just starting answers late, but a
/// client that waits wants to hear of a wrong address today.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// The head start of an address over the next; RFC 8305 recommends it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to an endpoint, without delaying small packets from then on.
///
/// # Errors
///
/// What went wrong with which address.
pub(crate) async fn dial(endpoint: &Endpoint) -> Result<TcpStream> {
    let addresses = in_turns(endpoint.resolve().await?);
    let tried = addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let race = timeout(CONNECT_LIMIT, race(addresses)).await;
    let stream = match race {
        Ok(Ok(stream)) => stream,
        Ok(Err(failures)) => return Err(refusal(endpoint, &failures)),
        Err(_) => {
            return Err(DriverError::Timeout(format!(
                "connect to {endpoint}: no answer from {tried} within {CONNECT_LIMIT:?}"
            )));
        }
    };
    stream
        .set_nodelay(true)
        .map_err(|error| DriverError::io(format!("connect to {endpoint}"), error))?;
    Ok(stream)
}

type Failure = (SocketAddr, io::Error);

/// The first connection that is made to one of the addresses, or why each of them failed.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, Vec<Failure>> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            Some((address, outcome)) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failures.push((address, error)),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
            else => return Err(failures),
        }
    }
}

/// The error for addresses that all failed; its category is that of the last.
fn refusal(endpoint: &Endpoint, failures: &[Failure]) -> DriverError {
    let kind = failures.last().map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let each: Vec<_> =
        failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    let source = io::Error::new(kind, each.join("; "));
    DriverError::io(format!("connect to {endpoint}"), source)
}

/// The same addresses with the families taking turns, beginning with the first one's.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return addresses };
    let (like_first, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut others = others.into_iter();
    let mut turns = Vec::new();
    for address in like_first {
        turns.push(address);
        turns.extend(others.next());
    }
    turns.extend(others);
    turns
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            in_turns(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"])),
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(
            in_turns(addresses(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])),
            addresses(&["1.1.1.1:1", "[::1]:1", "[::2]:1"])
        );
    }

    /// A loopback address where nothing listens.
    async fn deserted() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_later_address_is_tried_when_one_fails() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let stream = race(vec![deserted().await, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn a_refusal_names_what_was_tried() {
        let address = deserted().await;
        let endpoint = Endpoint::new("127.0.0.1".into(), address.port());
        let error = dial(&endpoint).await.unwrap_err();
        assert!(matches!(error, DriverError::Disconnected(_)));
        assert_eq!(
            error.to_string(),
            format!("connect to {address}: {address}: Connection refused (os error 111)")
        );
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_named() {
        // Longer than names may be, so that nobody is asked about it.
        let name = "x".repeat(300);
        let error = dial(&Endpoint::new(name.clone(), 1)).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("look up '{name}': ")), "{error}");
    }
}
