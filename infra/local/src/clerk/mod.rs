//! A development Clerk: users sign up and sign in, and it issues session tokens and sends webhooks.

mod frontend;
mod organizations;
mod routes;
mod state;
mod webhooks;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use signing_key::SigningKey;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::guard::Guard;

pub use signing_key::ORIGIN;
pub use state::Secrets;

pub(crate) use routes::WEBHOOKS_HEADER;
pub(crate) use state::{FILES, new_id, now_ms};
pub(crate) use webhooks::{Attempt, Delivery, OUTCOME_HEADER, Signature};

/// A running instance.
pub struct Clerk {
    issuer: String,
    origins: Vec<String>,
    webhook_url: String,
    key: SigningKey,
    secrets: Secrets,
    /// The end of the names of cookies that belong to this instance.
    cookie_suffix: String,
    http: reqwest::Client,
    stored: Mutex<state::Stored>,
    deliveries: Mutex<HashMap<String, Delivery>>,
    /// The users that a browser with one of these tickets is signed in as. Each is valid once.
    tickets: Mutex<HashMap<String, String>>,
}

impl Clerk {
    /// The instance whose data is in `folder`, or a new one. `issuer` is its own URL, `webhook_url` that of the receiver of
    /// its webhooks, and `origins` the front ends', the application's first.
    pub fn load(folder: &Path, issuer: String, origins: Vec<String>, webhook_url: String) -> Result<Arc<Self>> {
        let (secrets, key) = Secrets::load_or_make(folder)?;
        Ok(Arc::new(Self {
            cookie_suffix: frontend::cookie_suffix(&frontend::publishable_key(&issuer)),
            issuer,
            origins,
            webhook_url,
            key,
            secrets,
            // Svix treats a redirect as a failure.
            http: reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            stored: Mutex::new(state::Stored::load(folder)?),
            deliveries: Mutex::default(),
            tickets: Mutex::default(),
        }))
    }

    /// The application's origin, to which tokens are issued.
    fn origin(&self) -> &str {
        self.origins.first().map_or("", String::as_str)
    }

    /// Its secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The public keys, as published (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": [self.key.jwk()] })
    }

    /// The key with which Clerk's SDK in a browser uses this instance.
    pub fn publishable_key(&self) -> String {
        frontend::publishable_key(&self.issuer)
    }

    /// Serves the APIs until the task is dropped or aborted.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        self.serve_with(listener, axum::Router::new())
    }

    /// Serves the APIs and other routes, which have guards of their own, until the task is dropped or aborted.
    pub(crate) fn serve_with(
        self: &Arc<Self>,
        listener: TcpListener,
        others: axum::Router,
    ) -> JoinHandle<std::io::Result<()>> {
        let router = self.backend();
        tokio::spawn(async move {
            let guard = Guard::programs(listener.local_addr()?.port());
            axum::serve(listener, guard.layer(router).merge(others)).await
        })
    }

    /// The Backend API and the public keys, without a guard.
    pub(crate) fn backend(self: &Arc<Self>) -> axum::Router {
        routes::router(Arc::clone(self))
    }

    /// The id of the instance.
    pub(crate) fn instance_id(&self) -> &str {
        &self.secrets.instance_id
    }

    /// A ticket that signs a browser in as a user once.
    pub(crate) fn ticket(&self, user_id: &str) -> String {
        let ticket = uuid::Uuid::new_v4().simple().to_string();
        self.lock_tickets().insert(ticket.clone(), user_id.to_owned());
        ticket
    }

    fn lock_tickets(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clerk's Frontend API, with the scripts of its SDK in the folder `packages`.
    pub(crate) fn frontend(self: &Arc<Self>, packages: &Path) -> axum::Router {
        frontend::router(self, packages)
    }

    /// Sends webhooks that were not delivered when the stack was last stopped.
    pub fn resume(self: &Arc<Self>) {
        let outbox: Vec<_> = self.read(|state| state.outbox.values().cloned().collect());
        for message in outbox {
            webhooks::deliver(self, message);
        }
    }

    /// The id of the user with a tag in logs.
    pub(crate) fn user_with_tag(&self, tag: &str) -> Option<String> {
        self.read(|state| state.users.keys().find(|id| clerk_auth::user_tag(id) == tag).cloned())
    }

    fn read<T>(&self, read: impl FnOnce(&state::State) -> T) -> T {
        read(&self.stored.lock().unwrap_or_else(PoisonError::into_inner).state)
    }

    /// Changes the state and stores it.
    fn change<T>(&self, change: impl FnOnce(&mut state::State) -> T) -> Result<T> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut stored.state);
        stored.save()?;
        Ok(outcome)
    }

    fn lock_deliveries(&self) -> MutexGuard<'_, HashMap<String, Delivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
