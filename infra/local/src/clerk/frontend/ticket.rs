//! Tickets of the local dashboard, which open the application as a user.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect},
};
use axum_extra::extract::CookieJar;

use super::{Browser, cookies::token_cookies};
use crate::clerk::{
    Clerk,
    routes::{self, ClerkError, ClerkResult},
};

/// Signs the browser in as the ticket's user, in place of any other.
pub(super) async fn open(State(clerk): State<Arc<Clerk>>, Path(ticket): Path<String>) -> ClerkResult {
    let user = clerk.lock_tickets().remove(&ticket);
    let user = user.ok_or_else(|| {
        let message = "The ticket was used already. Open the application from the dashboard again.".to_owned();
        ClerkError::new(StatusCode::NOT_FOUND, "resource_not_found", message)
    })?;
    let mut browser = Browser::new(&clerk);
    let session = browser.enter(&user)?;
    let token = routes::token(&clerk, &session, clerk.origin())?;
    let cookies = token_cookies(&clerk, &token).into_iter().fold(browser.cookies(), CookieJar::add);
    Ok((cookies, [(header::CACHE_CONTROL, "no-store")], Redirect::to("/")).into_response())
}
