//! The scripts of Clerk's SDK and components, and the picture of users without one.

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    extract::{Path as PathOf, Request},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use super::json::DEFAULT_PICTURE;
use crate::clerk::{Clerk, routes::ClerkError};

const PICTURE: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><rect width="2" height="2" fill="#8a93a3"/><circle cx="1" cy=".75" r=".4" fill="#fff"/><circle cx="1" cy="2.1" r=".8" fill="#fff"/></svg>"##;

/// Serves the packages of Clerk in the folder `packages`, in the version that is installed there.
pub(super) fn router(packages: &Path) -> Router<Arc<Clerk>> {
    let packages = ServeDir::new(packages).append_index_html_on_directories(false);
    Router::new()
        .route(
            "/npm/@clerk/{package}/dist/{file}",
            get(async move |path, request| serve(packages, path, request).await),
        )
        .route(DEFAULT_PICTURE, get(async || ([(header::CONTENT_TYPE, "image/svg+xml")], PICTURE)))
}

async fn serve(
    packages: ServeDir,
    PathOf((package, file)): PathOf<(String, String)>,
    mut request: Request,
) -> Result<Response, ClerkError> {
    let name = package.split('@').next().unwrap_or_default();
    let missing = || {
        let message = format!("{package} has no {file}. `make run` installs Clerk's scripts.");
        ClerkError::new(StatusCode::NOT_FOUND, "resource_not_found", message)
    };
    let uri = Uri::try_from(format!("/@clerk/{name}/dist/{file}")).map_err(|_| missing())?;
    *request.uri_mut() = uri;
    let response = packages.oneshot(request).await.into_response();
    if response.status() == StatusCode::NOT_FOUND { Err(missing()) } else { Ok(response) }
}
