//! The cookies of Clerk, which its SDKs read in the browser and on a server.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum_extra::extract::cookie::{Cookie, SameSite};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE},
};

use crate::clerk::Clerk;

/// Identifies the browser. Clerk's own has no suffix, but only Clerk's host gets it. Here, all stacks on this machine do.
const CLIENT: &str = "__client";
/// The session token, which Clerk's SDK writes as well.
const SESSION: &str = "__session";
/// When a user last signed in, in seconds, or 0. A server knows by it whether a token is missing.
const CLIENT_UAT: &str = "__client_uat";
/// With it, a server gets the next token.
const REFRESH: &str = "__refresh";
/// The path at which the front end serves this API.
const PATH: &str = "/clerk";

/// The publishable key of the instance with an issuer. With a key of a production instance (`pk_live_`), Clerk's SDK sends no
/// telemetry and needs no cookie of a development browser.
pub(in crate::clerk) fn publishable_key(issuer: &str) -> String {
    let host = issuer.split_once("://").map_or(issuer, |(_, host)| host);
    format!("pk_live_{}", BASE64_STANDARD_NO_PAD.encode(format!("{host}$")))
}

/// The end of the names of cookies that belong to an instance: a hash of its publishable key.
pub(in crate::clerk) fn cookie_suffix(publishable_key: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, publishable_key.as_bytes());
    BASE64_URL_SAFE.encode(hash).chars().take(8).collect()
}

/// The name of the cookie that identifies the browser.
pub(super) fn client_name(clerk: &Clerk) -> String {
    suffixed(clerk, CLIENT)
}

/// The cookies that identify a browser.
pub(super) fn client_cookies(clerk: &Clerk, client: &str, refresh_token: &str) -> [Cookie<'static>; 2] {
    [
        hidden(client_name(clerk), client.to_owned(), PATH),
        hidden(suffixed(clerk, REFRESH), refresh_token.to_owned(), "/"),
    ]
}

/// The cookies that say when a user last signed in, in milliseconds. 0 if none is signed in.
pub(super) fn uat_cookies(clerk: &Clerk, signed_in_at: u64) -> [Cookie<'static>; 2] {
    both(clerk, CLIENT_UAT).map(|name| lasting(name, (signed_in_at / 1000).to_string()))
}

/// The cookies with a session token, or without if it is empty.
pub(in crate::clerk) fn token_cookies(clerk: &Clerk, token: &str) -> Vec<Cookie<'static>> {
    let mut cookies = both(clerk, SESSION).map(|name| lasting(name, token.to_owned()));
    if token.is_empty() {
        cookies.iter_mut().for_each(Cookie::make_removal);
    }
    cookies.into()
}

/// A name without and with the instance's suffix.
fn both(clerk: &Clerk, name: &str) -> [String; 2] {
    [name.to_owned(), suffixed(clerk, name)]
}

fn suffixed(clerk: &Clerk, name: &str) -> String {
    format!("{name}_{}", clerk.cookie_suffix)
}

fn lasting(name: String, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").same_site(SameSite::Lax).permanent().build()
}

/// A cookie that pages cannot read.
fn hidden(name: String, value: String, path: &'static str) -> Cookie<'static> {
    Cookie::build(lasting(name, value)).path(path).http_only(true).build()
}
