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
use clerk_auth::{Config, ConfigError, Identity, Refusal, Verifier};
use store::{Accounts, Authorized, Database, Usage};
use tokio::task::{JoinHandle, yield_now};

use crate::{Problem, log::Caller, required, var};

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
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.is(&identity);
        }
        Ok(identity)
    }
}

/// A look at an account and a session that is still under way.
type Check = JoinHandle<Result<Authorized, store::Error>>;

/// Where the look that a reading handler does not wait for is kept, until its answer is due.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<Check>>>);

/// Middleware: holds an answer back until the account and the session of whoever asked are found good.
pub(crate) async fn gate(mut request: Request, next: Next) -> Response {
    let gate = Gate::default();
    request.extensions_mut().insert(gate.clone());
    let response = next.run(request).await;
    let check = gate.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(check) = check else { return response };
    match check.await {
        Ok(Ok(_)) => response,
        Ok(Err(error)) => Problem::from(error).into_response(),
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}

/// The "authorized" extractor of handlers that read: verifies the token of `Authorization: Bearer`, or answers for the
/// handler. Whether the account and the session are still good is looked up while the handler reads; its answer waits
/// for that.
impl<T: Send + Sync> FromRequestParts<Context<T>> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context<T>) -> Result<Self, Problem> {
        let identity = context.identify(parts).await?;
        match parts.extensions.get::<Gate>() {
            Some(Gate(gate)) => {
                let (accounts, asked) = (context.accounts.clone(), identity.clone());
                let usage = Usage::current();
                let check = tokio::spawn(async move {
                    // The read is on its way before the look is made, which then costs nobody time.
                    yield_now().await;
                    usage.count(accounts.authorize(asked)).await
                });
                *gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(check);
            }
            // Nobody would hold the answer back.
            None => drop(context.accounts.authorize(identity.clone()).await?),
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
        return Err(Refusal::Malformed.into());
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed)?;
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
