//! What `jmp login` asks over HTTP, at the same port: where the lab is, and tokens for an invitation
//! or for a refresh token.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/auth/config` | the lab's address, its namespace, what to trust, who makes tokens |
//! | `GET /.well-known/openid-configuration` | where they are made |
//! | `POST /token` | tokens |
//! | `GET /healthz` | that the lab is served |

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tonic::Status;

use super::super::authentication::{Origin, Refusals};
use super::super::name::NAMESPACE;
use super::super::store::{Client, Store};
use super::super::token::{Bearer, Signer, random};
use super::Authority;
use crate::secret::Secret;

/// What `jmp` calls itself.
const CLIENT_ID: &str = "jumpstarter-cli";

/// Lets clients log in.
#[derive(Debug)]
pub struct Login {
    /// What clients have to trust, in PEM.
    pub ca: String,
    /// Where clients are.
    pub store: Store,
    /// Makes their tokens.
    pub signer: Arc<Signer>,
    /// What was refused.
    pub refusals: Arc<Refusals>,
}

/// What is asked for tokens with.
#[derive(Debug, Deserialize)]
struct Grant {
    grant_type: String,
    username: Option<String>,
    password: Option<Secret>,
    refresh_token: Option<Secret>,
}

impl Login {
    /// The pages.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/auth/config", get(config))
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/token", post(token))
            .route("/healthz", get(|| async { "ok\n" }))
            .with_state(Arc::new(self))
    }

    async fn grant(&self, grant: Grant) -> Option<(Client, String)> {
        let renewal = URL_SAFE_NO_PAD.encode(random(32).ok()?);
        let next = renewal.clone();
        let asked = match (&*grant.grant_type, grant.username, grant.password, grant.refresh_token)
        {
            ("password", Some(name), Some(code), _) => {
                let accept = move |database: &mut super::super::store::Database| {
                    database.accept(&name, code.reveal(), &next, Timestamp::now())
                };
                self.store.ask(accept).await
            }
            ("refresh_token", _, _, Some(spent)) => {
                self.store.ask(move |database| database.renew(spent.reveal(), &next)).await
            }
            _ => return None,
        };
        match asked {
            Ok(client) => Some((client?, renewal)),
            Err(error) => {
                tracing::error!("{error}");
                None
            }
        }
    }
}

async fn config(
    State(login): State<Arc<Login>>,
    Extension(Authority(authority)): Extension<Authority>,
) -> Response {
    Json(json!({
        "grpcEndpoint": authority,
        "routerEndpoint": authority,
        "namespace": NAMESPACE,
        "caBundle": STANDARD.encode(&login.ca),
        "oidc": [{
            "issuer": format!("https://{authority}"),
            "clientId": CLIENT_ID,
            "audiences": [CLIENT_ID],
        }],
    }))
    .into_response()
}

async fn discovery(Extension(Authority(authority)): Extension<Authority>) -> Response {
    let issuer = format!("https://{authority}");
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/token"),
        "grant_types_supported": ["password", "refresh_token"],
    }))
    .into_response()
}

async fn token(
    State(login): State<Arc<Login>>,
    Extension(Authority(authority)): Extension<Authority>,
    origin: Option<Extension<Origin>>,
    Form(grant): Form<Grant>,
) -> Response {
    let Some((client, renewal)) = login.grant(grant).await else {
        let origin = origin.map_or(Origin(None), |Extension(origin)| origin);
        let message = "no such invitation or refresh token";
        login.refusals.note("login", origin, &Status::unauthenticated(message));
        let advice = "ask for another invitation: `hilt lab client add NAME --invite`";
        let body = json!({ "error": "invalid_grant", "error_description": advice });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    let Client { name, id, generation, life, .. } = client;
    let bearer = Bearer { client: name, id, generation };
    let issuer = format!("https://{authority}");
    match login.signer.issue(&bearer, &issuer, life, Timestamp::now()) {
        Ok(issued) => Json(json!({
            "access_token": issued.token.reveal(),
            "refresh_token": renewal,
            "token_type": "Bearer",
            "expires_in": life.as_secs(),
        }))
        .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
