//! A development Clerk: it signs people up and in, issues session tokens, and sends webhooks.

mod browser;
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
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::guard::Guard;

pub use signing_key::ORIGIN;
pub use state::Secrets;

pub(crate) use routes::WEBHOOKS_HEADER;
pub(crate) use state::{FILES, new_id, now_ms};

/// A running instance.
pub struct Clerk {
    issuer: String,
    origin: String,
    webhook_url: String,
    key: SigningKey,
    secrets: Secrets,
    http: reqwest::Client,
    kept: Mutex<state::Kept>,
    deliveries: Mutex<HashMap<String, watch::Receiver<webhooks::Progress>>>,
}

impl Clerk {
    /// The instance whose data is in `folder`; a new one if there is none. `issuer` and `webhook_url` are where it and
    /// the receiver of its webhooks are reached, `origin` is where the front end is.
    pub fn load(folder: &Path, issuer: String, origin: String, webhook_url: String) -> Result<Arc<Self>> {
        let (secrets, key) = Secrets::load_or_make(folder)?;
        Ok(Arc::new(Self {
            issuer,
            origin,
            webhook_url,
            key,
            secrets,
            // Svix takes a redirect for a failure.
            http: reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            kept: Mutex::new(state::Kept::load(folder)?),
            deliveries: Mutex::default(),
        }))
    }

    /// What it signs and opens with.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The public keys, as published (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": [self.key.jwk()] })
    }

    /// Answers requests until the task is dropped or aborted.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = routes::router(Arc::clone(self));
        tokio::spawn(async move {
            let guard = Guard::programs(listener.local_addr()?.port());
            axum::serve(listener, guard.layer(router)).await
        })
    }

    /// What browsers ask of it: a page to sign in on, and tokens.
    pub(crate) fn browser(self: &Arc<Self>) -> axum::Router {
        browser::router(Arc::clone(self))
    }

    /// Sends what was not delivered when the stack was last stopped.
    pub fn resume(self: &Arc<Self>) {
        let outbox: Vec<_> = self.read(|state| state.outbox.values().cloned().collect());
        for message in outbox {
            webhooks::deliver(self, message);
        }
    }

    fn read<T>(&self, read: impl FnOnce(&state::State) -> T) -> T {
        read(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).state)
    }

    /// Changes the state and keeps the change.
    fn change<T>(&self, change: impl FnOnce(&mut state::State) -> T) -> Result<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut kept.state);
        kept.save()?;
        Ok(outcome)
    }

    fn deliveries(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<webhooks::Progress>>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
