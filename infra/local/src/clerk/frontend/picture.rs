//! Pictures that users upload.

use std::sync::Arc;

use axum::{
    extract::{
        Multipart, Path, State,
        multipart::{MultipartError, MultipartRejection},
    },
    http::{StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::Browser;
use crate::clerk::{
    Clerk, new_id,
    routes::{self, ClerkError, ClerkResult, UserBody, not_found},
    state::Picture,
};

/// Formats without scripts: the pictures are on the application's origin.
const FORMATS: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

/// A picture of 10 MB, as Clerk's component promises, with the rest of its form.
pub(super) const MAX_REQUEST: usize = 11 << 20;

/// The path of a user's picture.
pub(super) const PATH: &str = "/pictures/{user_id}";

pub(super) async fn create(browser: Browser, parts: Result<Multipart, MultipartRejection>) -> ClerkResult {
    let (_, user) = browser.current()?;
    let invalid = |_| error("form_param_format_invalid", "The picture must be in the part `file` of a form.");
    let mut parts = parts.map_err(invalid)?;
    let part = parts.next_field().await.map_err(unreadable)?.filter(|part| part.name() == Some("file"));
    let part = part.ok_or_else(|| error("form_param_missing", "The form has no part `file`."))?;
    let format = part.content_type().and_then(|format| FORMATS.into_iter().find(|known| *known == format));
    let format =
        format.ok_or_else(|| error("avatar_file_type_invalid", "The picture is not GIF, JPEG, PNG or WebP."))?;
    let content = BASE64_STANDARD.encode(part.bytes().await.map_err(unreadable)?);
    let picture = Picture { format: format.to_owned(), content };
    browser.clerk.change(|state| state.pictures.insert(user.id.clone(), picture))?;
    let id = new_id("img");
    // Another URL for each picture, so that browsers do not show an older one.
    let url = format!("{}/clerk{}?{id}", browser.origin, PATH.replace("{user_id}", &user.id));
    replace(&browser, &user.id, url.clone())?;
    browser.respond(&json!({ "object": "image", "id": id, "public_url": url }))
}

pub(super) async fn delete(browser: Browser) -> ClerkResult {
    let (_, user) = browser.current()?;
    browser.clerk.change(|state| state.pictures.remove(&user.id))?;
    replace(&browser, &user.id, String::new())?;
    browser.respond(&json!({ "object": "image", "deleted": true }))
}

fn replace(browser: &Browser, user_id: &str, url: String) -> Result<(), ClerkError> {
    let body = UserBody { image_url: Some(url), ..UserBody::default() };
    routes::update(&browser.clerk, user_id, body).map(drop)
}

pub(super) async fn read(State(clerk): State<Arc<Clerk>>, Path(user_id): Path<String>) -> ClerkResult {
    let picture = clerk.read(|state| {
        let picture = state.pictures.get(&user_id)?;
        Some((picture.format.clone(), BASE64_STANDARD.decode(&picture.content).ok()?))
    });
    let (format, content) = picture.ok_or_else(|| not_found("picture", &user_id))?;
    let headers = [(header::CONTENT_TYPE, format.as_str()), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, content).into_response())
}

fn error(code: &'static str, message: &str) -> ClerkError {
    ClerkError::form("file", code, message.to_owned())
}

fn unreadable(cause: MultipartError) -> ClerkError {
    if cause.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return error("avatar_file_size_exceeded", "The picture is larger than 10 MB.");
    }
    error("form_param_format_invalid", "The form is malformed.")
}
