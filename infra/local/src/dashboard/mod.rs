//! The dashboard of the local stack: server-rendered pages at the root of the development Clerk's port. They show what the
//! running stack knows, and store nothing themselves.

mod data;
mod layout;
mod overview;
mod requests;
mod users;
mod webhooks;

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use dynoxide::Database;
use maud::Markup;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use crate::{
    clerk::Clerk, functions::workspace, guard::Guard, invoker::Invoker, logs::Logs, stack::Running, streams::Pending,
    template::Table, websocket::Connections,
};

/// The script of htmx, in the version that `make` installs. Pages work without it.
const HTMX: &str = ".tools/htmx/node_modules/htmx.org/dist/htmx.min.js";
const STYLE: &str = include_str!("style.css");
/// The type of axum's own texts.
const TEXT: &str = "text/plain; charset=utf-8";
/// The largest response of the development Clerk.
const MAX_RESPONSE: usize = 64 << 20;

/// What the pages show.
pub(crate) struct Dashboard {
    pub(crate) clerk: Arc<Clerk>,
    pub(crate) database: Database,
    pub(crate) tables: Vec<Table>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) functions: Invoker,
    pub(crate) pending: Arc<Pending>,
    pub(crate) running: Running,
    pub(crate) folder: PathBuf,
}

type Site = State<Arc<Dashboard>>;

impl Dashboard {
    /// What runs, with what has happened since the start.
    fn now(&self) -> Running {
        let (rejected_origins, failing_streams) = (self.logs.rejected_origins(), self.pending.failures());
        Running { rejected_origins, failing_streams, not_ready: self.not_ready(), ..self.running.clone() }
    }

    /// A sentence for each function that does not respond, with the last error that it has logged since.
    fn not_ready(&self) -> Vec<String> {
        let lines = self.logs.recent();
        let error = |name: &str| {
            let line = lines.iter().find(|line| line.text("function") == name)?;
            Some(line.text("error").to_owned()).filter(|error| !error.is_empty())
        };
        let sentence = |(name, reason): (&str, String)| match error(name) {
            Some(error) => format!("{name} {reason}: {error}."),
            None => format!("{name} {reason}."),
        };
        self.functions.starting().into_iter().map(sentence).collect()
    }

    /// Calls Clerk's Backend API, as Clerk's own dashboard does. An error has Clerk's status and sentence.
    async fn backend(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, PageError> {
        let (status, body) = self.call_backend(method, path, body).await?;
        if status.is_success() {
            return Ok(body);
        }
        let sentence = body.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or("Clerk has failed.");
        Err(PageError(status, sentence.to_owned()))
    }

    async fn call_backend(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.clerk.secrets().secret_key));
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.clerk.backend().oneshot(request?).await?;
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_RESPONSE).await?;
        Ok((status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? }))
    }

    /// Calls DynamoDB with requests and responses as its API has them.
    async fn database(&self, operation: Operation, request: Value) -> Result<Value> {
        let database = self.database.clone();
        let response = spawn_blocking(move || -> Result<Value> {
            Ok(match operation {
                Operation::Query => serde_json::to_value(database.query(serde_json::from_value(request)?)?)?,
                Operation::Scan => serde_json::to_value(database.scan(serde_json::from_value(request)?)?)?,
                Operation::GetItem => serde_json::to_value(database.get_item(serde_json::from_value(request)?)?)?,
                Operation::PutItem => serde_json::to_value(database.put_item(serde_json::from_value(request)?)?)?,
                Operation::DeleteItem => serde_json::to_value(database.delete_item(serde_json::from_value(request)?)?)?,
            })
        });
        response.await.context("DynamoDB has failed")?
    }
}

/// An operation of DynamoDB.
#[derive(Clone, Copy)]
enum Operation {
    Query,
    Scan,
    GetItem,
    PutItem,
    DeleteItem,
}

/// The pages, and what programs get. `port` is that of the development Clerk.
pub(crate) fn router(dashboard: Arc<Dashboard>, port: u16) -> Router {
    programs(Arc::clone(&dashboard), port).merge(pages(dashboard, port))
}

/// The pages, for browsers on this machine.
fn pages(dashboard: Arc<Dashboard>, port: u16) -> Router {
    let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"));
    let router = Router::new()
        .route("/", get(overview::page))
        .route("/health", get(overview::health))
        .merge(users::router())
        .merge(webhooks::router())
        .merge(data::router())
        .merge(requests::router())
        .route("/dashboard/style.css", get(async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route_service("/dashboard/htmx.js", ServeFile::new(workspace().join(HTMX)))
        .layer(middleware::from_fn_with_state(Arc::clone(&dashboard), with_headers))
        .with_state(dashboard);
    Guard::web(port, origins.into()).layer(router)
}

/// What runs, for programs with the secret key of the development Clerk.
fn programs(dashboard: Arc<Dashboard>, port: u16) -> Router {
    let running = async |State(dashboard): Site, request: Request| {
        let expected = format!("Bearer {}", dashboard.clerk.secrets().secret_key);
        if request.headers().get(header::AUTHORIZATION).is_some_and(|sent| sent.as_bytes() == expected.as_bytes()) {
            Json(dashboard.now()).into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        }
    };
    Guard::programs(port).layer(Router::new().route(RUNNING, get(running)).with_state(dashboard))
}

/// The path at which programs get what runs.
pub(crate) const RUNNING: &str = "/v1/local-stack";

/// Pages run only the script of this port, and no other page can embed them.
async fn with_headers(State(dashboard): Site, request: Request, next: Next) -> Response {
    let mut response = as_page(next.run(request).await).await;
    let front_end = dashboard.running.front_ends.join(" ");
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self' {front_end}; img-src data:; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// axum's rejections of malformed queries, paths and forms are plain text.
async fn as_page(response: Response) -> Response {
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind != TEXT);
    let status = response.status();
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = to_bytes(response.into_body(), MAX_RESPONSE).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let sentence =
        if text.is_empty() { status.canonical_reason().unwrap_or_default() } else { text.trim_end_matches('.') };
    PageError(status, format!("{sentence}.")).into_response()
}

/// A page that says why it cannot be shown.
struct PageError(StatusCode, String);

type Page = Result<Markup, PageError>;

impl From<anyhow::Error> for PageError {
    fn from(error: anyhow::Error) -> Self {
        let text = format!("{error:#}");
        // The engine marks what DynamoDB rejects.
        let sentence = text.split_once(':').filter(|(mark, _)| mark.starts_with("VALIDATION")).map(|(_, rest)| rest);
        Self(StatusCode::UNPROCESSABLE_ENTITY, sentence.unwrap_or(&text).to_owned())
    }
}

impl PageError {
    fn not_found(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("There is no {what}."))
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Self(status, sentence) = self;
        (status, layout::page("Error", "", maud::html! { p .problem role="alert" { (sentence) } })).into_response()
    }
}
