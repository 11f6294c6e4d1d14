use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use clerk_auth::{Config, ConfigError, Identity, TokenError, Verifier};
use store::{Accounts, Authorized, Database};
use tokio::{sync::oneshot, task::yield_now};

use crate::{Problem, log::UserTag, required, var};

/// The state of a function that serves signed-in people: who verifies them, and the table it serves.
#[derive(Clone)]
pub struct Context<T> {
    verifier: Arc<Verifier>,
    accounts: Accounts,
    table: T,
}

impl<T> Context<T> {
    /// State for `Router::with_state`, from the variables that every such function has: those of
    /// [`Config::from_env`], `USERS_TABLE` and `SESSIONS_TABLE`.
    pub fn from_env(database: &Database, table: T) -> Result<Self, ConfigError> {
        let config = Config::from_env(var)?;
        let (users, sessions) = (required("USERS_TABLE")?, required("SESSIONS_TABLE")?);
        tracing::info!(?config, users, sessions, "configured");
        let verifier = Arc::new(Verifier::new(config));
        let accounts = Accounts::new(database, users, sessions);
        Ok(Self { verifier, accounts, table })
    }

    /// The same, connected to the database: while a function starts, Lambda gives it a whole processor, so that TLS costs
    /// the first request nothing.
    pub async fn connected(self) -> Self {
        self.accounts.connect().await;
        self
    }

    async fn identify(&self, parts: &Parts) -> Result<Identity, Problem> {
        let token = bearer(&parts.headers)?;
        let identity = self.verifier.verify(token, SystemTime::now()).await?;
        if let Some(tag) = parts.extensions.get::<UserTag>() {
            tag.set(&identity);
        }
        Ok(identity)
    }
}

/// Whose account and session are to be looked up.
struct Look {
    accounts: Accounts,
    identity: Identity,
}

/// Where the extractor of a reading handler leaves the look that the handler does not wait for.
#[derive(Clone)]
struct Gate(Arc<Mutex<Option<oneshot::Sender<Look>>>>);

impl Gate {
    /// Has the answer wait for `look`. Says whether it will.
    fn hold_for(&self, look: Look) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        asked.is_some_and(|asked| asked.send(look).is_ok())
    }
}

/// Middleware: looks up the account and the session of whoever asks, beside the handler, and holds the answer back until
/// they are found good.
pub(crate) async fn gate(mut request: Request, next: Next) -> Response {
    let (ask, asked) = oneshot::channel();
    request.extensions_mut().insert(Gate(Arc::new(Mutex::new(Some(ask)))));
    let look = async {
        // A handler that needs no look goes without asking for one.
        let Ok(Look { accounts, identity }) = asked.await else { return Ok(()) };
        // The read is on its way before the look is made, which then costs the caller no time.
        yield_now().await;
        accounts.authorize(identity).await.map(drop)
    };
    // Not in a task of its own: to move the look into one costs a twentieth of a request.
    let (response, found) = tokio::join!(next.run(request), look);
    found.map_or_else(|error| Problem::from(error).into_response(), |()| response)
}

/// The "authorized" extractor of handlers that read: verifies the token of `Authorization: Bearer`, or answers for the
/// handler. Whether the account and the session are still good is looked up while the handler reads; its answer waits
/// for that.
impl<T: Send + Sync> FromRequestParts<Context<T>> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context<T>) -> Result<Self, Problem> {
        let identity = context.identify(parts).await?;
        let look = || Look { accounts: context.accounts.clone(), identity: identity.clone() };
        if !parts.extensions.get::<Gate>().is_some_and(|gate| gate.hold_for(look())) {
            // Nobody would hold the answer back.
            context.accounts.authorize(identity.clone()).await?;
        }
        Ok(identity)
    }
}

/// The "authorized" extractor of handlers that write: an identity whose account and session are found good before the
/// handler begins.
pub struct Author(pub Authorized);

impl<T: Send + Sync> FromRequestParts<Context<T>> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context<T>) -> Result<Self, Problem> {
        let identity = context.identify(parts).await?;
        Ok(Self(context.accounts.authorize(identity).await?))
    }
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1), and of nowhere else.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(Problem::token_missing)?;
    if values.next().is_some() {
        return Err(TokenError::Malformed.into());
    }
    let value = value.to_str().map_err(|_| TokenError::Malformed)?;
    // The scheme's case does not matter (RFC 9110, section 11.1).
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() {
        return Err(Problem::token_missing());
    }
    Ok(token)
}

/// The function's table. A handle alone: it opens a partition for an [`Identity`], and nothing without one.
pub struct Table<T>(pub T);

impl<T: Clone + Send + Sync> FromRequestParts<Context<T>> for Table<T> {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, context: &Context<T>) -> Result<Self, Infallible> {
        Ok(Self(context.table.clone()))
    }
}
