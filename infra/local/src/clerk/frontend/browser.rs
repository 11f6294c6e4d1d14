//! The browser that sends a request, and its sessions.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
    response::IntoResponse,
};
use axum_extra::extract::CookieJar;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{cookies, json, query};
use crate::clerk::{
    Clerk,
    routes::{ClerkError, ClerkResult, sign_in},
    state::{Client, Session, Status, User, now_ms},
    webhooks,
};

/// The browser that sends a request.
pub(super) struct Browser {
    pub(super) clerk: Arc<Clerk>,
    /// The front end's origin whose page sends the request.
    pub(super) origin: String,
    /// The value of its cookie, if this instance has set it.
    cookie: Option<String>,
    /// The session that the request is for, by Clerk's SDK.
    session: Option<String>,
}

impl FromRequestParts<Arc<Clerk>> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, clerk: &Arc<Clerk>) -> Result<Self, Infallible> {
        let jar = CookieJar::from_headers(&parts.headers);
        let cookie = jar.get(&cookies::client_name(clerk)).map(|cookie| cookie.value().to_owned());
        let cookie = cookie.filter(|cookie| clerk.read(|state| state.clients.contains_key(cookie)));
        // Browsers send the header Origin with changes, and Referer when they read from their own origin.
        let header = |name| parts.headers.get(name)?.to_str().ok();
        let page = header(header::ORIGIN).or_else(|| header(header::REFERER)).and_then(|page| Url::parse(page).ok());
        let origin = page.map(|page| page.origin().ascii_serialization());
        let origin = origin.filter(|origin| clerk.origins.contains(origin));
        let origin = origin.unwrap_or_else(|| clerk.origin().to_owned());
        Ok(Self { clerk: Arc::clone(clerk), origin, cookie, session: query(&parts.uri, "_clerk_session_id") })
    }
}

impl Browser {
    /// A browser without a cookie.
    pub(super) fn new(clerk: &Arc<Clerk>) -> Self {
        Self { clerk: Arc::clone(clerk), origin: clerk.origin().to_owned(), cookie: None, session: None }
    }

    /// The stored client of the browser.
    pub(super) fn client(&self) -> Option<Client> {
        let cookie = self.cookie.as_ref()?;
        self.clerk.read(|state| state.clients.get(cookie).cloned())
    }

    /// Changes the stored client. The first change gives the browser a cookie.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Client) -> T) -> Result<T, ClerkError> {
        let cookie = self.cookie.get_or_insert_with(|| Uuid::new_v4().simple().to_string()).clone();
        Ok(self.clerk.change(|state| change(state.clients.entry(cookie).or_insert_with(Client::new)))?)
    }

    /// Its active sessions, the oldest first.
    pub(super) fn sessions(&self) -> Vec<(Session, User)> {
        let Some(cookie) = &self.cookie else { return Vec::new() };
        self.clerk.read(|state| {
            let sessions = state.sessions.values().filter(|session| session.status == Status::Active);
            let own = sessions.filter(|session| session.client.as_ref() == Some(cookie));
            own.filter_map(|session| Some((session.clone(), state.users.get(&session.user_id)?.clone()))).collect()
        })
    }

    /// The active session `id`, if it is this browser's.
    pub(super) fn session(&self, id: &str) -> Result<(Session, User), ClerkError> {
        self.sessions().into_iter().find(|(session, _)| session.id == id).ok_or_else(signed_out)
    }

    /// The session that the request is for, or the one that was used last.
    pub(super) fn current(&self) -> Result<(Session, User), ClerkError> {
        let id = self.session.clone().or_else(|| self.last_active(&self.sessions()));
        self.session(&id.unwrap_or_default())
    }

    /// The session of `sessions` that was used last.
    fn last_active(&self, sessions: &[(Session, User)]) -> Option<String> {
        let last = self.client().and_then(|client| client.last_active);
        let used = sessions.iter().find(|(session, _)| Some(&session.id) == last.as_ref());
        used.or(sessions.last()).map(|(session, _)| session.id.clone())
    }

    /// Checks that a user can sign in: no other has, or several can and this one has not.
    pub(super) fn may_enter(&self, user_id: &str) -> Result<(), ClerkError> {
        let sessions = self.sessions();
        if self.clerk.read(|state| state.has_several_sessions) {
            return sessions.iter().find(|(session, _)| session.user_id == user_id).map_or(Ok(()), |(session, _)| {
                let message = "You are signed in already.".to_owned();
                let error = ClerkError::new(StatusCode::BAD_REQUEST, "identifier_already_signed_in", message);
                Err(error.with(json!({ "session_id": session.id })))
            });
        }
        if sessions.is_empty() {
            return Ok(());
        }
        let message = "A user is signed in already. Sign out first.".to_owned();
        Err(ClerkError::new(StatusCode::BAD_REQUEST, "session_exists", message))
    }

    /// Opens a session of a user.
    pub(super) fn enter(&mut self, user_id: &str) -> Result<String, ClerkError> {
        self.change(|_| ())?;
        let session = sign_in(&self.clerk, user_id.to_owned(), self.cookie.clone(), None)?;
        self.change(|client| {
            client.signed_in_at = now_ms();
            client.last_active = Some(session.id.clone());
        })?;
        webhooks::send(&self.clerk, &[("session.created", session.json())])?;
        Ok(session.id)
    }

    /// The cookies that a change sets. To a server, a browser without a client is signed out.
    pub(super) fn cookies(&self) -> CookieJar {
        let client = self.cookie.as_ref().zip(self.client());
        let signed_in_at =
            client.as_ref().filter(|_| !self.sessions().is_empty()).map_or(0, |(_, one)| one.signed_in_at);
        let own = client.map(|(cookie, client)| cookies::client_cookies(&self.clerk, cookie, &client.refresh_token));
        let cookies = own.into_iter().flatten().chain(cookies::uat_cookies(&self.clerk, signed_in_at));
        cookies.fold(CookieJar::new(), CookieJar::add)
    }

    /// The response to a change, with the browser's sessions, which Clerk's SDK takes over.
    pub(super) fn respond(&self, response: &Value) -> ClerkResult {
        let body = json!({ "response": response, "client": self.json()? });
        Ok((self.cookies(), [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
    }

    /// The browser in the Frontend API's format. Null if no user has ever signed in.
    pub(super) fn json(&self) -> Result<Value, ClerkError> {
        let Some(client) = self.client() else { return Ok(Value::Null) };
        let sessions = self.sessions();
        let last_active = self.last_active(&sessions);
        let sessions = sessions.iter().map(|(session, user)| json::session(self, session, user));
        let sessions: Result<Vec<_>, _> = sessions.collect();
        let sign_in = client.sign_in.as_ref().map(|sign_in| json::sign_in(self, sign_in));
        Ok(json!({
            "object": "client", "id": client.id, "sessions": sessions?, "last_active_session_id": last_active,
            "sign_in": sign_in, "sign_up": client.sign_up.as_ref().map(json::sign_up),
            // There are no bots to keep out.
            "captcha_bypass": true,
            "cookie_expires_at": null, "created_at": client.created_at, "updated_at": now_ms(),
        }))
    }
}

fn signed_out() -> ClerkError {
    let message = "This browser has no such session.".to_owned();
    ClerkError::new(StatusCode::UNAUTHORIZED, "authentication_invalid", message)
}
