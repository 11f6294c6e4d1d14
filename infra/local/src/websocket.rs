//! The WebSocket API, as API Gateway serves it: a function accepts or rejects each connection, and other functions send
//! to it by `@connections`.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use aws_smithy_types::{DateTime, date_time::Format};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        Path, Query, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, post, put},
};
use base64::{Engine, prelude::BASE64_URL_SAFE};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use crate::{dynamodb::has_key, guard::Guard, invoker::Invoker, template::WebSocketApi};

/// The largest frame and the largest message, in bytes.
const MAX_FRAME: usize = 32 << 10;
const MAX_MESSAGE: usize = 128 << 10;
/// The largest number of messages that wait for a client. API Gateway throttles further ones.
const BUFFER: usize = 64;
/// The largest number of messages that are kept for the dashboard.
const KEPT: usize = 50;
/// The timeout for a client to receive a message, or to close.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Only programs on this machine connect.
const SOURCE_IP: &str = "127.0.0.1";

/// How long connections last.
#[derive(Args, Clone, Copy)]
pub(crate) struct Limits {
    /// Seconds without a message after which a WebSocket is closed
    #[arg(id = "live-idle", long = "live-idle", env = "LIVE_IDLE", value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) idle: Duration,
    /// Seconds after which a WebSocket is closed
    #[arg(id = "live-lifetime", long = "live-lifetime", env = "LIVE_LIFETIME", value_name = "SECONDS", default_value = "7200", value_parser = seconds)]
    pub(crate) lifetime: Duration,
}

impl Limits {
    /// API Gateway's.
    pub(crate) const AWS: Self = Self { idle: Duration::from_mins(10), lifetime: Duration::from_hours(2) };
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

struct Gateway {
    api: WebSocketApi,
    functions: Invoker,
    limits: Limits,
    connections: Arc<Connections>,
}

/// The open connections, and the last messages that were sent to them.
#[derive(Default)]
pub(crate) struct Connections {
    /// By id.
    open: Mutex<HashMap<String, Connection>>,
    /// The newest last.
    sent: Mutex<VecDeque<Sent>>,
}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) id: String,
    pub(crate) user_agent: String,
    /// Milliseconds since the epoch.
    pub(crate) connected_at: u64,
    pub(crate) last_active_at: u64,
}

/// A message that was sent to a connection.
#[derive(Clone)]
pub(crate) struct Sent {
    /// Milliseconds since the epoch.
    pub(crate) at: u64,
    pub(crate) connection: String,
    pub(crate) text: String,
}

impl Connections {
    /// The open connections, the oldest first.
    pub(crate) fn open(&self) -> Vec<Opened> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = open.iter().map(|(id, connection)| Opened {
            id: id.clone(),
            user_agent: connection.user_agent.clone(),
            connected_at: connection.connected_at.try_into().unwrap_or_default(),
            last_active_at: connection.last_active_at.load(Ordering::Relaxed).try_into().unwrap_or_default(),
        });
        let mut opened: Vec<_> = opened.collect();
        opened.sort_by_key(|connection| connection.connected_at);
        opened
    }

    /// The last messages, the newest first.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.lock_sent().iter().rev().cloned().collect()
    }

    fn lock_sent(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Connection {
    /// The connection closes when this is dropped.
    messages: mpsc::Sender<Message>,
    user_agent: String,
    connected_at: i64,
    last_active_at: Arc<AtomicI64>,
    faults: Faults,
}

/// A fault of `@connections`, for tests.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Faults {
    post: Option<Fault>,
    delete: Option<Fault>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fault {
    /// The connection counts as closed.
    Gone,
    /// API Gateway throttles.
    Throttled,
    /// API Gateway fails.
    Failed,
    /// No response.
    Timeout,
}

impl Fault {
    async fn response(self) -> Response {
        match self {
            Self::Gone => gone(),
            Self::Throttled => throttled(),
            Self::Failed => exception(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
            Self::Timeout => std::future::pending().await,
        }
    }
}

/// A function's response to `$connect`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decision {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
}

/// The router of the WebSocket API's port: the API for clients, including pages of `origins`, and `@connections` for
/// programs with the access key.
pub(crate) fn router(
    api: WebSocketApi,
    functions: Invoker,
    limits: Limits,
    port: u16,
    origins: Vec<String>,
    access_key: String,
    connections: Arc<Connections>,
) -> Router {
    let stage = format!("/{}", api.stage);
    let gateway = Arc::new(Gateway { api, functions, limits, connections });
    let clients = Router::new().route(&stage, any(connect)).with_state(gateway.clone());
    let programs = Router::new()
        .route(&format!("{stage}/@connections/{{id}}"), post(send).get(describe).delete(disconnect))
        .route("/faults/{id}", put(set_faults))
        .with_state(gateway)
        .layer(middleware::from_fn_with_state(Arc::new(access_key), has_key));
    Guard::api(port, origins).layer(clients).merge(Guard::programs(port).layer(programs))
}

async fn connect(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    mut upgrade: WebSocketUpgrade,
) -> Response {
    let id = connection_id();
    let connected_at = now();
    let event = connect_event(&id, connected_at, &gateway.api.stage, &headers, &query);
    let decision = gateway.functions.invoke(&gateway.api.connect, &event).await.and_then(|answer| {
        let decision: Decision = serde_json::from_value(answer).context("the function's answer is not a response")?;
        Ok((StatusCode::from_u16(decision.status_code)?, decision.headers))
    });
    let (status, answered) = match decision {
        Ok(decision) => decision,
        Err(error) => {
            eprintln!("{}: {error:#}", gateway.api.connect);
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    if !status.is_success() {
        // API Gateway does not forward the function's body and headers.
        return status.into_response();
    }
    let protocol = answered.iter().find(|(name, _)| name.eq_ignore_ascii_case(header::SEC_WEBSOCKET_PROTOCOL.as_str()));
    if let Some(protocol) = protocol.and_then(|(_, protocol)| protocol.parse().ok()) {
        upgrade.set_selected_protocol(protocol);
    }
    let user_agent = text(&headers, header::USER_AGENT.as_str()).to_owned();
    upgrade.max_frame_size(MAX_FRAME).max_message_size(MAX_MESSAGE).on_upgrade(async move |mut socket| {
        let (messages, outgoing) = mpsc::channel(BUFFER);
        let last_active_at = Arc::new(AtomicI64::new(connected_at));
        let faults = Faults::default();
        let connection =
            Connection { messages, user_agent, connected_at, last_active_at: last_active_at.clone(), faults };
        gateway.connections(|connections| connections.insert(id.clone(), connection));
        let code = serve(&mut socket, outgoing, gateway.limits, &last_active_at).await;
        gateway.connections(|connections| connections.remove(&id));
        if let Some(code) = code {
            // The socket is dropped even if the client does not respond.
            let _ = timeout(CLIENT_TIMEOUT, close(socket, code)).await;
        }
    })
}

/// Forwards messages until one side, or a limit, ends the connection. Returns the code to close it with, if it is open.
async fn serve(
    socket: &mut WebSocket,
    mut outgoing: mpsc::Receiver<Message>,
    limits: Limits,
    last_active_at: &AtomicI64,
) -> Option<u16> {
    let end = Instant::now() + limits.lifetime;
    let mut idle_end = Instant::now() + limits.idle;
    loop {
        tokio::select! {
            () = sleep_until(end.min(idle_end)) => return Some(close_code::AWAY),
            message = outgoing.recv() => match message {
                Some(message) => timeout(CLIENT_TIMEOUT, socket.send(message)).await.ok()?.ok()?,
                None => return Some(close_code::NORMAL),
            },
            message = socket.recv() => match message? {
                // The template's only route for messages, $default, responds to none.
                Ok(Message::Text(_) | Message::Binary(_)) => {}
                Ok(_) => continue,
                Err(_) => return Some(close_code::SIZE),
            },
        }
        idle_end = Instant::now() + limits.idle;
        last_active_at.store(now(), Ordering::Relaxed);
    }
}

async fn close(mut socket: WebSocket, code: u16) {
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() }));
    if socket.send(close).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

async fn send(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, body: Bytes) -> Response {
    let found = gateway
        .connections(|connections| Some((connections.get(&id)?.messages.clone(), connections.get(&id)?.faults.post)));
    let Some((messages, fault)) = found else { return gone() };
    if let Some(fault) = fault {
        return fault.response().await;
    }
    if body.len() > MAX_MESSAGE {
        return exception(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException");
    }
    let message = Utf8Bytes::try_from(body.clone()).map_or(Message::Binary(body), Message::Text);
    let text = String::from_utf8_lossy(&message.clone().into_data()).into_owned();
    match messages.try_send(message) {
        Ok(()) => {
            let mut sent = gateway.connections.lock_sent();
            sent.push_back(Sent { at: now().try_into().unwrap_or_default(), connection: id, text });
            if sent.len() > KEPT {
                sent.pop_front();
            }
            StatusCode::OK.into_response()
        }
        Err(mpsc::error::TrySendError::Full(_)) => throttled(),
        Err(mpsc::error::TrySendError::Closed(_)) => gone(),
    }
}

async fn describe(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let described = gateway.connections(|connections| {
        let connection = connections.get(&id)?;
        Some(json!({
            "connectedAt": date(connection.connected_at),
            "identity": { "sourceIp": SOURCE_IP, "userAgent": connection.user_agent },
            "lastActiveAt": date(connection.last_active_at.load(Ordering::Relaxed)),
        }))
    });
    described.map_or_else(gone, |described| Json(described).into_response())
}

async fn disconnect(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let fault = gateway.connections(|connections| connections.get(&id)?.faults.delete);
    if let Some(fault) = fault {
        return fault.response().await;
    }
    match gateway.connections(|connections| connections.remove(&id)) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => gone(),
    }
}

async fn set_faults(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Json(faults): Json<Faults>,
) -> StatusCode {
    let set = gateway.connections(|connections| connections.get_mut(&id).map(|connection| connection.faults = faults));
    if set.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

impl Gateway {
    fn connections<T>(&self, with: impl FnOnce(&mut HashMap<String, Connection>) -> T) -> T {
        with(&mut self.connections.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An error of `@connections`, in the format that the SDK parses.
fn exception(status: StatusCode, name: &'static str) -> Response {
    (status, [("x-amzn-errortype", name)], Json(json!({ "message": name }))).into_response()
}

fn gone() -> Response {
    exception(StatusCode::GONE, "GoneException")
}

fn throttled() -> Response {
    exception(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException")
}

/// An id in API Gateway's format.
fn connection_id() -> String {
    BASE64_URL_SAFE.encode(Uuid::new_v4().as_bytes().split_at(11).0)
}

/// The event with which API Gateway invokes the function of `$connect`.
fn connect_event(
    id: &str,
    connected_at: i64,
    stage: &str,
    headers: &HeaderMap,
    query: &BTreeMap<String, String>,
) -> Value {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        values.entry(as_sent(name.as_str())).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let last: BTreeMap<_, _> = values.iter().map(|(name, values)| (name, values.last())).collect();
    let mut event = json!({
        "headers": last,
        "multiValueHeaders": values,
        "requestContext": {
            "apiId": "local",
            "connectedAt": connected_at,
            "connectionId": id,
            "domainName": text(headers, header::HOST.as_str()),
            "eventType": "CONNECT",
            "extendedRequestId": id,
            "identity": { "sourceIp": SOURCE_IP, "userAgent": text(headers, header::USER_AGENT.as_str()) },
            "messageDirection": "IN",
            "requestId": id,
            "requestTimeEpoch": connected_at,
            "routeKey": "$connect",
            "stage": stage,
        },
        "isBase64Encoded": false,
    });
    if let Some(event) = event.as_object_mut().filter(|_| !query.is_empty()) {
        event.insert("queryStringParameters".to_owned(), json!(query));
    }
    event
}

/// A header's name as clients send it. The server has it in lower case, API Gateway does not.
fn as_sent(name: &str) -> String {
    let parts = name.split('-').map(|part| match part.split_at_checked(1) {
        Some((first, rest)) => first.to_uppercase() + rest,
        None => String::new(),
    });
    parts.collect::<Vec<_>>().join("-").replace("Websocket", "WebSocket")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn date(milliseconds: i64) -> Option<String> {
    DateTime::from_millis(milliseconds).fmt(Format::DateTime).ok()
}

#[cfg(test)]
mod tests;
