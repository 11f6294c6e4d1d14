//! The one place that logs requests: a line each, as JSON.
//!
//! A line never holds a token, a secret, a body, an address or a query string.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use lambda_http::RequestExt;
use tracing_subscriber::EnvFilter;

use crate::{env::var, problem::Logged};

/// Sends what the function logs to standard output, where Lambda picks it up.
///
/// The level is `AWS_LAMBDA_LOG_LEVEL` (set by a function's `LoggingConfig`) or `RUST_LOG`; info without either.
pub(crate) fn init() {
    let level = var("AWS_LAMBDA_LOG_LEVEL").or_else(|| var("RUST_LOG")).unwrap_or_else(|| "info".to_owned());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(EnvFilter::builder().parse_lossy(level))
        .init();
}

/// Middleware: logs the request once it is answered, and keeps the answer out of caches.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request.lambda_context_ref().map(|context| context.request_id.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = next.run(request).await;

    // What is answered belongs to one person.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_u16();
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    let problem = response.extensions_mut().remove::<Logged>();
    let code = problem.as_ref().map(|problem| problem.code);
    let cause = problem.as_ref().and_then(|problem| problem.cause.as_deref());
    if status < 500 {
        tracing::info!(request_id, %method, route, status, duration_ms, code, cause, "request");
    } else {
        tracing::error!(request_id, %method, route, status, duration_ms, code, cause, "request");
    }
    response
}
