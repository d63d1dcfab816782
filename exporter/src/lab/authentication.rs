//! Who a request is from. What is wrong with one is told in the controller's codes and words, and
//! logged with where it came from, never with its token.

mod permits;
mod refusals;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedSemaphorePermit;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::{Code, Request, Status};

use self::permits::Permits;
pub use self::refusals::Refusals;
use super::name::NAMESPACE;
use super::quote::quoted;
use super::refused::Refused;
use super::store::{Client, Store};
use super::token::{Bearer, Signer, TokenError};

/// How long the token before a rotation is honoured: what a client has running goes on.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// Knows the lab's clients by their tokens.
#[derive(Debug)]
pub struct Authentication {
    signer: Arc<Signer>,
    store: Store,
    refusals: Arc<Refusals>,
    permits: Permits,
}

/// Where a request has come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(pub Option<IpAddr>);

/// A client that has shown a good token, for as long as its request takes.
#[derive(Debug)]
pub struct Caller {
    /// The client.
    pub client: Client,
    /// What it has shown is not its latest token.
    pub is_outdated: bool,
    /// One of those that a client has for all that it asks at a time.
    _permit: OwnedSemaphorePermit,
}

impl Authentication {
    /// For the clients of a lab.
    pub fn new(signer: Arc<Signer>, store: Store, refusals: Arc<Refusals>) -> Self {
        Self { signer, store, refusals, permits: Permits::default() }
    }

    /// The client that a request is from.
    ///
    /// # Errors
    ///
    /// The controller's, in its order: the token, what the request says of itself, whether both are
    /// of the same client, and whether there is one.
    pub async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let origin = Origin::of(request);
        let judged = self.judge(request.metadata()).await;
        let (client, is_outdated) =
            judged.inspect_err(|status| self.refusals.note("client", origin, status))?;
        // A client that floods the lab waits for itself.
        let permit = self.permits.of(&client.name).await?;
        Ok(Caller { client, is_outdated, _permit: permit })
    }

    /// As [`Self::caller`], in a namespace, of which there is one.
    pub async fn caller_in<T>(
        &self,
        request: &Request<T>,
        namespace: &str,
    ) -> Result<Caller, Status> {
        let caller = self.caller(request).await?;
        if namespace != NAMESPACE {
            let status = Status::permission_denied("namespace mismatch");
            self.refusals.note("client", Origin::of(request), &status);
            return Err(status);
        }
        Ok(caller)
    }

    async fn judge(&self, metadata: &MetadataMap) -> Result<(Client, bool), Status> {
        let bearer = self.signer.check(bearer_token(metadata)?).map_err(|error| match error {
            TokenError::Expired | TokenError::Bad => Status::unknown(error.to_string()),
        })?;
        let namespace = only(metadata, "jumpstarter-namespace")?;
        let kind = only(metadata, "jumpstarter-kind")?;
        let name = match only(metadata, "jumpstarter-name") {
            Err(status) if status.message().starts_with("missing") => {
                let message = "resource name required for pre-existing authentication";
                return Err(Status::invalid_argument(message));
            }
            name => name?,
        };
        if kind != "Client" {
            return Err(Status::invalid_argument("object kind mismatch"));
        }
        let of = |name: &str| format!("{}/{}", quoted(namespace), quoted(name));
        let wanted = name.to_owned();
        let found = self.store.ask(move |database| database.client(&wanted)).await;
        let found = found.map_err(|error| {
            tracing::error!("{error}");
            Status::from(Refused::Store("see the log".into()))
        })?;
        let Some(client) = found.filter(|_| namespace == NAMESPACE) else {
            return Err(Refused::NoClient(name.to_owned()).into());
        };
        let denied =
            || Status::permission_denied(format!("permission denied for client {}", of(name)));
        match Standing::of(&bearer, &client, Timestamp::now()) {
            Standing::Good => Ok((client, false)),
            Standing::Outdated => Ok((client, true)),
            Standing::Foreign => Err(denied()),
            Standing::Replaced => Err(Status::permission_denied(format!(
                "permission denied for client {}: a newer token has taken this one's place",
                of(name)
            ))),
        }
    }
}

/// What a token is worth to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is the client's latest.
    Good,
    /// It is the one before, of which it has not been long.
    Outdated,
    /// It has been too long.
    Replaced,
    /// It is another client's, or of one that was there before by the same name.
    Foreign,
}

impl Standing {
    fn of(bearer: &Bearer, client: &Client, now: Timestamp) -> Self {
        if bearer.client != client.name || bearer.id != client.id {
            return Self::Foreign;
        }
        match client.generation.checked_sub(bearer.generation) {
            Some(0) => Self::Good,
            Some(1) if client.rotated.is_some_and(|at| now.duration_since(at) < GRACE) => {
                Self::Outdated
            }
            Some(_) => Self::Replaced,
            None => Self::Foreign,
        }
    }
}

/// The token of a request.
///
/// # Errors
///
/// As the controller's.
pub fn bearer_token(metadata: &MetadataMap) -> Result<&str, Status> {
    let mut headers = metadata.get_all("authorization").iter();
    let Some(header) = headers.next() else {
        return Err(Status::unauthenticated("missing authorization header"));
    };
    if headers.next().is_some() {
        return Err(Status::invalid_argument("multiple authorization headers"));
    }
    let malformed = || Status::invalid_argument("malformed authorization header");
    let text = header.to_str().map_err(|_| malformed())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        Some(_) | None => Err(malformed()),
    }
}

/// The one value of a key.
fn only<'a>(metadata: &'a MetadataMap, key: &'static str) -> Result<&'a str, Status> {
    let mut values = metadata.get_all(AsciiMetadataKey::from_static(key)).iter();
    let missing = || Status::invalid_argument(format!("missing metadata: {key}"));
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Status::new(Code::InvalidArgument, format!("multiple metadata: {key}")));
    }
    value.to_str().map_err(|_| missing())
}

impl Origin {
    /// Where a request has come from.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or(Self(None))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_rotation_leaves_the_last_token_an_hour() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let client = Client {
            name: "ann".into(),
            id: Uuid::from_u128(1),
            added: at(0),
            life: SignedDuration::from_hours(1),
            generation: 2,
            rotated: Some(at(1000)),
        };
        let standing = |generation, now| {
            let bearer = Bearer { client: "ann".into(), id: client.id, generation };
            Standing::of(&bearer, &client, at(now))
        };
        assert_eq!(standing(2, 9999), Standing::Good);
        assert_eq!(standing(1, 4599), Standing::Outdated);
        assert_eq!(standing(1, 4600), Standing::Replaced);
        assert_eq!(standing(0, 1000), Standing::Replaced);
        assert_eq!(standing(3, 1000), Standing::Foreign, "nobody has made that one");
        let other = Bearer { client: "ann".into(), id: Uuid::from_u128(2), generation: 2 };
        assert_eq!(Standing::of(&other, &client, at(1)), Standing::Foreign);
    }

    #[test]
    fn a_request_has_one_token_and_says_so_in_one_way() {
        let token = |headers: &[&'static str]| {
            let mut metadata = MetadataMap::new();
            for header in headers {
                metadata.append("authorization", header.parse().unwrap());
            }
            bearer_token(&metadata).map(ToOwned::to_owned).map_err(|status| status.code())
        };
        assert_eq!(token(&["Bearer a.b.c"]).as_deref(), Ok("a.b.c"));
        assert_eq!(token(&["bearer a.b.c"]).as_deref(), Ok("a.b.c"));
        assert_eq!(token(&[]), Err(Code::Unauthenticated));
        assert_eq!(token(&["Bearer a", "Bearer a"]), Err(Code::InvalidArgument));
        assert_eq!(token(&["Basic a"]), Err(Code::InvalidArgument));
        assert_eq!(token(&["Bearer"]), Err(Code::InvalidArgument));
    }
}
