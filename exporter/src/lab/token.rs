//! The tokens by which clients are known: signed, of limited life, and revocable.
//!
//! A token names a client and its *generation*. A rotation begins the next one, and the one before
//! it is honoured for a little while, so that what a client has running goes on; all others are
//! refused. Whoever is removed, or invited anew, has another id, which no token of before has.

mod crypto;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::directory::{Directory, DirectoryError};
use super::name::NAMESPACE;
use crate::secret::Secret;

/// Who the tokens are for.
const AUDIENCE: &str = "jumpstarter";

/// The longest token that is looked at.
const LONGEST: usize = 4096;

/// Signs and checks tokens.
pub struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The client's name.
    pub client: String,
    /// Which client of that name.
    pub id: Uuid,
    /// How many rotations it has behind it.
    pub generation: u32,
}

/// A new token.
#[derive(Debug, Clone)]
pub struct Issued {
    /// For the client.
    pub token: Secret,
    /// The end of its life.
    pub expiry: Timestamp,
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its life is over. Clients go by these words: they log in again.
    #[error("token is expired")]
    Expired,
    /// Somebody else has made or changed it.
    #[error("failed to authenticate token")]
    Bad,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Where its client can log in again.
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: i64,
    exp: i64,
    generation: u32,
}

impl Signer {
    /// A signer with the key of a lab, which is made on first use.
    pub fn open(directory: &Directory) -> Result<Self, DirectoryError> {
        Ok(Self::new(&directory.secret("token.key", || random(32))?))
    }

    fn new(key: &[u8]) -> Self {
        crypto::install();
        Self { encoding: EncodingKey::from_secret(key), decoding: DecodingKey::from_secret(key) }
    }

    /// Makes a token. `issuer` is the lab's own URL.
    pub fn issue(
        &self,
        bearer: &Bearer,
        issuer: &str,
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<Issued, TokenError> {
        let Bearer { client, id, generation } = bearer;
        let expiry = now.saturating_add(life).unwrap_or(Timestamp::MAX);
        let claims = Claims {
            iss: issuer.into(),
            sub: format!("client:{NAMESPACE}:{client}:{id}"),
            aud: vec![AUDIENCE.into()],
            iat: now.as_second(),
            exp: expiry.as_second(),
            generation: *generation,
        };
        let header = Header::new(Algorithm::HS256);
        let token = jsonwebtoken::encode(&header, &claims, &self.encoding);
        let token = Secret::from(token.map_err(|_| TokenError::Bad)?);
        let expiry = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
        Ok(Issued { token, expiry })
    }

    /// Checks a token. Whether its client still is one, and of this generation, is another question.
    pub fn check(&self, token: &str) -> Result<Bearer, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Bad);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|error| {
                let is_expired = matches!(error.kind(), ErrorKind::ExpiredSignature);
                if is_expired { TokenError::Expired } else { TokenError::Bad }
            })?
            .claims;
        let generation = claims.generation;
        match claims.sub.split(':').collect::<Vec<_>>()[..] {
            ["client", NAMESPACE, client, id] => {
                let id = Uuid::parse_str(id).map_err(|_| TokenError::Bad)?;
                Ok(Bearer { client: client.into(), id, generation })
            }
            _ => Err(TokenError::Bad),
        }
    }
}

impl std::fmt::Debug for Signer {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Bytes that nobody can guess.
pub fn random(count: usize) -> Result<Vec<u8>, String> {
    use ring::rand::{SecureRandom as _, SystemRandom};
    let mut bytes = vec![0; count];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn ann() -> Bearer {
        Bearer { client: "ann".into(), id: Uuid::from_u128(7), generation: 3 }
    }

    fn issue(signer: &Signer, life: i64) -> String {
        let life = SignedDuration::from_secs(life);
        let issued = signer.issue(&ann(), "https://lab:1", life, Timestamp::now()).unwrap();
        issued.token.reveal().to_owned()
    }

    #[test]
    fn a_token_says_whose_it_is() {
        let signer = Signer::new(&[1; 32]);
        assert_eq!(signer.check(&issue(&signer, 60)), Ok(ann()));
    }

    #[test]
    fn an_outdated_token_is_told_apart_to_the_second() {
        let signer = Signer::new(&[1; 32]);
        assert_eq!(signer.check(&issue(&signer, -1)), Err(TokenError::Expired));
        assert_eq!(TokenError::Expired.to_string(), "token is expired");
    }

    #[test]
    fn a_foreign_or_altered_token_is_worth_nothing() {
        let signer = Signer::new(&[1; 32]);
        let good = issue(&signer, 60);
        let foreign = issue(&Signer::new(&[2; 32]), 60);
        let parts: Vec<_> = good.split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("three parts") };
        let other = claims_of(claims).replace("ann", "bob");
        let other = URL_SAFE_NO_PAD.encode(other);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let hs512 = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512","typ":"JWT"}"#);
        for bad in [
            foreign,
            format!("{header}.{other}.{signature}"),
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{hs512}.{claims}.{signature}"),
            format!("{header}.{claims}"),
            format!("{good}x"),
            String::new(),
            "..".into(),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(signer.check(&bad), Err(TokenError::Bad), "{}", &bad[..bad.len().min(80)]);
        }
    }

    fn claims_of(part: &str) -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_of_something_else_is_worth_nothing_here() {
        let signer = Signer::new(&[1; 32]);
        let good = Claims {
            iss: "x".into(),
            sub: format!("client:{NAMESPACE}:ann:{}", Uuid::from_u128(7)),
            aud: vec![AUDIENCE.into()],
            iat: 0,
            exp: i64::MAX / 2,
            generation: 3,
        };
        let sign = |claims: &Claims| {
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &signer.encoding).unwrap()
        };
        assert_eq!(signer.check(&sign(&good)), Ok(ann()));
        let exporter = Claims { sub: "exporter:default:ann:7".into(), ..good };
        assert_eq!(signer.check(&sign(&exporter)), Err(TokenError::Bad));
        let sub = format!("client:{NAMESPACE}:ann:{}", Uuid::from_u128(7));
        let router = Claims { sub, aud: vec!["router".into()], ..exporter };
        assert_eq!(signer.check(&sign(&router)), Err(TokenError::Bad));
    }

    #[test]
    fn nothing_shows_the_key() {
        assert_eq!(format!("{:?}", Signer::new(&[1; 32])), "Signer { .. }");
    }
}
