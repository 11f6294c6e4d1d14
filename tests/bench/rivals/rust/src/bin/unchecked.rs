//! Our list of chats without the look at account and session, to tell what that costs.

use std::{process::ExitCode, sync::Arc, time::SystemTime};

use api::{Body, Problem, Query, required, var};
use axum::{
    Router,
    extract::{FromRequestParts, State},
    http::request::Parts,
    routing::get,
};
use clerk_auth::{Config, Identity, TokenError, Verifier};
use serde::Deserialize;
use store::{Chats, Cursor, Database, Limit, Page};

struct Unchecked {
    verifier: Verifier,
    chats: Chats,
}

/// Who calls, by the token alone.
struct Caller(Identity);

impl FromRequestParts<Arc<Unchecked>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Unchecked>) -> Result<Self, Problem> {
        let value = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer ")).ok_or(TokenError::Malformed)?;
        Ok(Self(state.verifier.verify(token, SystemTime::now()).await?))
    }
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

async fn list(
    State(state): State<Arc<Unchecked>>,
    Query(paging): Query<Paging>,
    Caller(caller): Caller,
) -> Result<Body<Page>, Problem> {
    Ok(Body(state.chats.of(&caller).list(paging.limit, paging.cursor).await?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    api::run(async || {
        let database = Database::from_env();
        let chats = Chats::new(&database, required("CHATS_TABLE")?);
        let config = Config::from_env(var)?;
        let state = Unchecked { verifier: Verifier::new(config), chats };
        Ok(Router::new().route("/chats", get(list)).with_state(Arc::new(state)))
    })
    .await
}
