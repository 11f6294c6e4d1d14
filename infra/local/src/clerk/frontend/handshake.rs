//! The handshake: a server sends a browser without a valid token here, and it returns with one, or signed out.

use axum::{
    extract::Query,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect},
};
use axum_extra::extract::CookieJar;
use serde::Deserialize;
use url::Url;

use super::{Browser, cookies::token_cookies};
use crate::clerk::routes::{self, ClerkError, ClerkResult};

#[derive(Deserialize)]
pub(super) struct Handshake {
    redirect_url: String,
}

pub(super) async fn handshake(browser: Browser, Query(Handshake { redirect_url }): Query<Handshake>) -> ClerkResult {
    let back = Url::parse(&redirect_url).ok();
    let is_front_end = |url: &Url| browser.clerk.origins.contains(&url.origin().ascii_serialization());
    let back = back.filter(is_front_end).ok_or_else(|| {
        let message = format!("redirect_url must be on {}.", browser.clerk.origins.join(" or "));
        ClerkError::new(StatusCode::BAD_REQUEST, "invalid_url", message)
    })?;
    let token = match browser.current() {
        Ok((session, _)) => routes::token(&browser.clerk, &session.id, &back.origin().ascii_serialization())?,
        Err(_) => String::new(),
    };
    let cookies = token_cookies(&browser.clerk, &token).into_iter().fold(browser.cookies(), CookieJar::add);
    Ok((cookies, [(header::CACHE_CONTROL, "no-store")], Redirect::temporary(back.as_str())).into_response())
}
