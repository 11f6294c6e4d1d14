//! The WebSocket API, as API Gateway serves it: a function accepts or rejects each connection, and other functions send
//! to it by `@connections`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
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

use crate::{dynamodb::has_key, functions::Invoker, guard::Guard, template::WebSocketApi};

/// The largest frame and the largest message, in bytes.
const MAX_FRAME: usize = 32 << 10;
const MAX_MESSAGE: usize = 128 << 10;
/// Messages that wait for a client. Beyond them, API Gateway throttles.
const BUFFER: usize = 64;
/// How long a client may take to receive a message, or to close.
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

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

struct Gateway {
    api: WebSocketApi,
    functions: Invoker,
    limits: Limits,
    /// Open connections by id.
    connections: Mutex<HashMap<String, Connection>>,
}

struct Connection {
    /// The connection closes when this is dropped.
    messages: mpsc::Sender<Message>,
    user_agent: String,
    connected_at: i64,
    last_active_at: Arc<AtomicI64>,
    faults: Faults,
}

/// What `@connections` does to a connection instead of its work, for tests.
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

/// Everything that is served on the WebSocket API's port: the API for clients, pages of `origins` among them, and
/// `@connections` for programs that have the access key.
pub(crate) fn router(
    api: WebSocketApi,
    functions: Invoker,
    limits: Limits,
    port: u16,
    origins: Vec<String>,
    access_key: String,
) -> Router {
    let stage = format!("/{}", api.stage);
    let gateway = Arc::new(Gateway { api, functions, limits, connections: Mutex::default() });
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
        // API Gateway does not pass on the function's body and headers.
        return status.into_response();
    }
    let protocol = answered.iter().find(|(name, _)| name.eq_ignore_ascii_case(header::SEC_WEBSOCKET_PROTOCOL.as_str()));
    if let Some(protocol) = protocol.and_then(|(_, protocol)| protocol.parse().ok()) {
        upgrade.set_selected_protocol(protocol);
    }
    let user_agent = text(&headers, header::USER_AGENT.as_str()).to_owned();
    upgrade.max_frame_size(MAX_FRAME).max_message_size(MAX_MESSAGE).on_upgrade(async move |socket| {
        let (messages, outgoing) = mpsc::channel(BUFFER);
        let last_active_at = Arc::new(AtomicI64::new(connected_at));
        let faults = Faults::default();
        let connection =
            Connection { messages, user_agent, connected_at, last_active_at: last_active_at.clone(), faults };
        gateway.connections(|connections| connections.insert(id.clone(), connection));
        serve(socket, outgoing, gateway.limits, &last_active_at).await;
        gateway.connections(|connections| connections.remove(&id));
    })
}

/// Passes messages on until one side, or a limit, ends the connection.
async fn serve(
    mut socket: WebSocket,
    mut outgoing: mpsc::Receiver<Message>,
    limits: Limits,
    last_active_at: &AtomicI64,
) {
    let end = Instant::now() + limits.lifetime;
    let mut idle_end = Instant::now() + limits.idle;
    let code = loop {
        tokio::select! {
            () = sleep_until(end.min(idle_end)) => break close_code::AWAY,
            message = outgoing.recv() => match message {
                Some(message) => match timeout(CLIENT_TIMEOUT, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                },
                None => break close_code::NORMAL,
            },
            message = socket.recv() => match message {
                // The template's only route for messages, $default, responds to none.
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {}
                Some(Ok(_)) => continue,
                Some(Err(_)) => break close_code::SIZE,
                None => return,
            },
        }
        idle_end = Instant::now() + limits.idle;
        last_active_at.store(now(), Ordering::Relaxed);
    };
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() }));
    let closing = async {
        if socket.send(close).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // The connection is dropped either way.
    let _ = timeout(CLIENT_TIMEOUT, closing).await;
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
    match messages.try_send(message) {
        Ok(()) => StatusCode::OK.into_response(),
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
        with(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An error of `@connections`, as the SDK reads it.
fn exception(status: StatusCode, name: &'static str) -> Response {
    (status, [("x-amzn-errortype", name)], Json(json!({ "message": name }))).into_response()
}

fn gone() -> Response {
    exception(StatusCode::GONE, "GoneException")
}

fn throttled() -> Response {
    exception(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException")
}

/// An id in the form of API Gateway's.
fn connection_id() -> String {
    BASE64_URL_SAFE.encode(Uuid::new_v4().as_bytes().split_at(11).0)
}

/// The event of a connection without a token, to which a function responds whatever its state.
pub(crate) fn anonymous_event(stage: &str) -> Value {
    connect_event(&connection_id(), now(), stage, &HeaderMap::new(), &BTreeMap::new())
}

/// What API Gateway invokes the function of `$connect` with.
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
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use reqwest::Method;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::{
        MaybeTlsStream, WebSocketStream, connect_async,
        tungstenite::{
            self, Error,
            client::IntoClientRequest,
            error::{ProtocolError, SubProtocolError},
            protocol::frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    };

    use super::*;
    use crate::functions::tests::lambda;

    const KEY: &str = "LOCALKEY";
    const ORIGIN: &str = "http://localhost:3000";
    const LONG: Limits = Limits { idle: Duration::from_mins(10), lifetime: Duration::from_mins(120) };

    type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

    /// A served WebSocket API.
    struct Api {
        port: u16,
        /// The events of `$connect`, in order.
        events: mpsc::UnboundedReceiver<Value>,
    }

    impl Api {
        /// The function responds to `$connect` with this.
        async fn start(limits: Limits, response: Result<Value, Value>) -> Self {
            let (connecting, events) = mpsc::unbounded_channel();
            let functions = lambda(move |function, event: Value| {
                let (response, connecting) = (response.clone(), connecting.clone());
                async move {
                    assert_eq!(function, "live-connect");
                    connecting.send(event).expect("the test waits");
                    response
                }
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            let api = WebSocketApi { stage: "v1".to_owned(), connect: "live-connect".to_owned() };
            let router = router(api, functions.await, limits, port, vec![ORIGIN.to_owned()], KEY.to_owned());
            tokio::spawn(async move { axum::serve(listener, router).await });
            Self { port, events }
        }

        /// One that accepts every connection.
        async fn accepting(limits: Limits) -> Self {
            let headers = json!({ "sec-websocket-PROTOCOL": "live.v1" });
            Self::start(limits, Ok(json!({ "statusCode": 200, "headers": headers }))).await
        }

        async fn try_connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, Error> {
            let url = format!("ws://127.0.0.1:{}{path}", self.port);
            let mut request = url.into_client_request().expect("a URL");
            for (name, value) in headers {
                request.headers_mut().insert(*name, value.parse().expect("a header"));
            }
            request.headers_mut().append("sec-websocket-protocol", "live.v1, bearer.token".parse().expect("a header"));
            connect_async(request).await.map(|(client, _)| client)
        }

        /// An open connection and its id.
        async fn connect(&mut self) -> (Client, String) {
            let client = self.try_connect("/v1", &[]).await.expect("it opens");
            let event = self.events.recv().await.expect("an event");
            (client, event["requestContext"]["connectionId"].as_str().expect("an id").to_owned())
        }

        fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let signature = format!("AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/execute-api/aws4_request");
            client.request(method, format!("http://127.0.0.1:{}{path}", self.port)).header("authorization", signature)
        }

        /// A request to `@connections`: the status, and the name of the error if there is one.
        async fn connection(&self, method: Method, id: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
            let path = format!("/v1/@connections/{}", id.replace('=', "%3D"));
            let response = self.request(method, &path).body(body).send().await.expect("it responds");
            let error =
                response.headers().get("x-amzn-errortype").map(|error| error.to_str().expect("text").to_owned());
            (response.status().as_u16(), error.unwrap_or_default())
        }

        async fn set_faults(&self, id: &str, faults: Value) {
            let response = self.request(Method::PUT, &format!("/faults/{id}")).json(&faults).send().await;
            assert_eq!(response.expect("it responds").status(), 204);
        }

        /// Waits until the connection counts as closed.
        async fn closes(&self, id: &str) {
            while self.connection(Method::GET, id, "").await.0 != 410 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn is_gone(answer: &(u16, String)) -> bool {
        *answer == (410, "GoneException".to_owned())
    }

    async fn next(client: &mut Client) -> tungstenite::Message {
        let message = timeout(Duration::from_secs(10), client.next()).await.expect("in time");
        message.expect("a message").expect("the connection holds")
    }

    /// The code that the server closes with.
    async fn close_code(client: &mut Client) -> u16 {
        match next(client).await {
            tungstenite::Message::Close(Some(frame)) => frame.code.into(),
            message => panic!("not closed: {message:?}"),
        }
    }

    #[tokio::test]
    async fn the_function_gets_the_event_of_api_gateway() {
        let mut api = Api::accepting(LONG).await;
        let client = api.try_connect("/v1?a=1&b=2", &[("user-agent", "test"), ("origin", ORIGIN)]).await;
        let _client = client.expect("it opens, with the protocol of the function");
        let event = api.events.recv().await.expect("an event");
        assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "live.v1, bearer.token");
        assert_eq!(event["multiValueHeaders"]["Origin"], json!([ORIGIN]));
        assert_eq!(event["queryStringParameters"], json!({ "a": "1", "b": "2" }));
        assert_eq!(event["isBase64Encoded"], false);
        let context = &event["requestContext"];
        assert_eq!((&context["routeKey"], &context["eventType"]), (&json!("$connect"), &json!("CONNECT")));
        assert_eq!((&context["stage"], &context["messageDirection"]), (&json!("v1"), &json!("IN")));
        assert_eq!(context["identity"], json!({ "sourceIp": "127.0.0.1", "userAgent": "test" }));
        assert!(context["connectedAt"].as_i64().is_some_and(|at| (now() - at) < 10_000), "{context}");
        let id = context["connectionId"].as_str().expect("an id");
        assert!(id.len() == 16 && id.ends_with('='), "{id}");
        drop(api.connect().await);
        let plain = anonymous_event("v1");
        assert!(plain.get("queryStringParameters").is_none() && plain["headers"] == json!({}), "{plain}");
    }

    #[tokio::test]
    async fn rejected_connections_get_the_functions_status() {
        let status = |status: u16| Ok(json!({ "statusCode": status, "body": "secret" }));
        let cases = [
            (status(401), 401),
            (status(403), 403),
            (status(429), 429),
            (status(503), 503),
            (status(7), 502),
            (Ok(json!("accepted")), 502),
            (Err(json!({ "errorType": "Runtime.ExitError" })), 502),
        ];
        for (response, expected) in cases {
            let api = Api::start(LONG, response.clone()).await;
            let Err(Error::Http(refused)) = api.try_connect("/v1", &[]).await else { panic!("{response:?} opens") };
            assert_eq!(refused.status(), expected, "{response:?}");
            assert!(refused.body().as_ref().is_none_or(Vec::is_empty), "{refused:?}");
        }
        let api = Api::start(LONG, Ok(json!({ "statusCode": 200 }))).await;
        let missing = Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol));
        let error = api.try_connect("/v1", &[]).await.expect_err("clients require the protocol");
        assert_eq!(error.to_string(), missing.to_string());
        assert!(api.try_connect("/v2", &[]).await.is_err(), "another stage");
    }

    #[tokio::test]
    async fn only_pages_of_known_origins_connect() {
        let api = Api::accepting(LONG).await;
        api.try_connect("/v1", &[("origin", ORIGIN), ("sec-fetch-site", "same-site")]).await.expect("the front end");
        for headers in [&[("origin", "http://evil.example")][..], &[("origin", "null")], &[("host", "evil.example")]] {
            let Err(Error::Http(refused)) = api.try_connect("/v1", headers).await else { panic!("{headers:?} opens") };
            assert_eq!(refused.status(), 403, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn only_programs_with_the_access_key_use_connections() {
        let mut api = Api::accepting(LONG).await;
        let (_client, id) = api.connect().await;
        for path in [format!("/v1/@connections/{id}"), format!("/faults/{id}")] {
            for method in [Method::POST, Method::GET, Method::DELETE, Method::PUT] {
                let request = api.request(method.clone(), &path).header("origin", ORIGIN);
                assert_eq!(request.send().await.expect("it responds").status(), 403, "{method} {path}");
                let request =
                    reqwest::Client::new().request(method.clone(), format!("http://127.0.0.1:{}{path}", api.port));
                assert_eq!(request.send().await.expect("it responds").status(), 400, "{method} {path}");
            }
        }
        assert_eq!(api.connection(Method::GET, &id, "").await.0, 200);
    }

    #[tokio::test]
    async fn messages_reach_open_connections_and_no_others() {
        let mut api = Api::accepting(LONG).await;
        let (mut client, id) = api.connect().await;
        let (mut other, other_id) = api.connect().await;
        assert_eq!(api.connection(Method::POST, &id, "one").await.0, 200);
        assert_eq!(api.connection(Method::POST, &id, "two").await.0, 200);
        assert_eq!(next(&mut client).await, tungstenite::Message::text("one"));
        assert_eq!(next(&mut client).await, tungstenite::Message::text("two"));
        // A client's message gets no response.
        client.send(tungstenite::Message::text("{}")).await.expect("sent");
        assert_eq!(api.connection(Method::POST, &id, "three").await.0, 200);
        assert_eq!(next(&mut client).await, tungstenite::Message::text("three"));

        client.close(None).await.expect("closed");
        api.closes(&id).await;
        let too_large = vec![b' '; MAX_MESSAGE + 1];
        let answer = api.connection(Method::POST, &other_id, too_large).await;
        assert_eq!(answer, (413, "PayloadTooLargeException".to_owned()));
        assert_eq!(api.connection(Method::DELETE, &other_id, "").await.0, 204);
        assert_eq!(close_code(&mut other).await, 1000);
        for id in [&*id, &*other_id, "L0SM9cOFvHcCIhw="] {
            for method in [Method::POST, Method::GET, Method::DELETE] {
                assert!(is_gone(&api.connection(method.clone(), id, "").await), "{method} {id}");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_gone_until_it_is_open() {
        let (connecting, mut is_connecting) = mpsc::unbounded_channel();
        let (accept, accepted) = tokio::sync::watch::channel(false);
        let functions = lambda(move |_, event: Value| {
            let (connecting, mut accepted) = (connecting.clone(), accepted.clone());
            async move {
                connecting.send(event).expect("the test waits");
                accepted.wait_for(|accepted| *accepted).await.expect("the test accepts");
                Ok(json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": "live.v1" } }))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let api = WebSocketApi { stage: "v1".to_owned(), connect: "live-connect".to_owned() };
        let router = router(api, functions.await, LONG, port, Vec::new(), KEY.to_owned());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let api = Api { port, events: mpsc::unbounded_channel().1 };
        let opening = api.try_connect("/v1", &[]);
        let posting = async {
            let event = is_connecting.recv().await.expect("an event");
            let id = event["requestContext"]["connectionId"].as_str().expect("an id").to_owned();
            assert!(is_gone(&api.connection(Method::POST, &id, "early").await));
            accept.send_replace(true);
            id
        };
        let (client, id) = tokio::join!(opening, posting);
        let mut client = client.expect("it opens");
        while is_gone(&api.connection(Method::POST, &id, "open").await) {}
        assert_eq!(next(&mut client).await, tungstenite::Message::text("open"));
    }

    #[tokio::test]
    async fn connections_are_described() {
        let mut api = Api::accepting(LONG).await;
        let (mut client, id) = api.connect().await;
        let describe = async || -> Value {
            let described = api.request(Method::GET, &format!("/v1/@connections/{id}")).send().await;
            described.expect("it responds").json().await.expect("JSON")
        };
        let before = describe().await;
        assert_eq!(before["identity"]["sourceIp"], "127.0.0.1");
        assert!(before["connectedAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{before}");
        while describe().await["lastActiveAt"] == before["lastActiveAt"] {
            client.send(tungstenite::Message::text("{}")).await.expect("sent");
        }
        assert_eq!(describe().await["connectedAt"], before["connectedAt"]);
    }

    #[tokio::test]
    async fn idle_connections_are_closed() {
        let mut api = Api::accepting(Limits { idle: Duration::from_secs(1), ..LONG }).await;
        let [(mut idle, _), (mut sends, sending), (mut receives, receiving)] =
            [api.connect().await, api.connect().await, api.connect().await];
        let active = async {
            loop {
                sends.send(tungstenite::Message::text("{}")).await.expect("sent");
                assert_eq!(api.connection(Method::POST, &receiving, "{}").await.0, 200);
                assert_eq!(next(&mut receives).await, tungstenite::Message::text("{}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let code = tokio::select! { code = close_code(&mut idle) => code, () = active => 0 };
        assert_eq!(code, 1001);
        assert_eq!(api.connection(Method::GET, &sending, "").await.0, 200);
        assert_eq!(api.connection(Method::GET, &receiving, "").await.0, 200);
    }

    #[tokio::test]
    async fn connections_end_after_their_lifetime() {
        let mut api = Api::accepting(Limits { lifetime: Duration::from_millis(200), ..LONG }).await;
        let (mut client, id) = api.connect().await;
        assert_eq!(close_code(&mut client).await, 1001);
        api.closes(&id).await;
    }

    #[tokio::test]
    async fn frames_and_messages_have_a_largest_size() {
        let mut api = Api::accepting(LONG).await;
        let frame = |size: usize, code, is_final| {
            tungstenite::Message::Frame(Frame::message(vec![b' '; size], OpCode::Data(code), is_final))
        };
        let message = |frames: &[usize]| -> Vec<_> {
            let code = |index| if index == 0 { Data::Text } else { Data::Continue };
            let frames = frames.iter().enumerate();
            let count = frames.len();
            frames.map(|(index, size)| frame(*size, code(index), index + 1 == count)).collect()
        };
        for (frames, fits) in [
            (message(&[MAX_FRAME; 4]), true),
            (message(&[MAX_FRAME + 1]), false),
            (message(&[MAX_FRAME, MAX_FRAME, MAX_FRAME, MAX_FRAME, 1]), false),
        ] {
            let (mut client, id) = api.connect().await;
            for frame in frames {
                client.send(frame).await.expect("sent");
            }
            if fits {
                assert_eq!(api.connection(Method::POST, &id, "still open").await.0, 200);
                assert_eq!(next(&mut client).await, tungstenite::Message::text("still open"));
            } else {
                assert_eq!(close_code(&mut client).await, 1009);
                api.closes(&id).await;
            }
        }
    }

    #[tokio::test]
    async fn clients_that_do_not_read_are_throttled() {
        let mut api = Api::accepting(LONG).await;
        let (_client, id) = api.connect().await;
        let mut answer = (200, String::new());
        while answer.0 == 200 {
            answer = api.connection(Method::POST, &id, vec![b' '; MAX_MESSAGE]).await;
        }
        assert_eq!(answer, (429, "LimitExceededException".to_owned()));
    }

    #[tokio::test]
    async fn connections_fail_on_demand() {
        let mut api = Api::accepting(LONG).await;
        let (mut client, id) = api.connect().await;
        for (fault, expected) in [("gone", 410), ("throttled", 429), ("failed", 500)] {
            api.set_faults(&id, json!({ "post": fault })).await;
            assert_eq!(api.connection(Method::POST, &id, "lost").await.0, expected);
            assert_eq!(api.connection(Method::GET, &id, "").await.0, 200);
        }
        api.set_faults(&id, json!({ "post": "timeout", "delete": "failed" })).await;
        let post = timeout(Duration::from_millis(200), api.connection(Method::POST, &id, "lost")).await;
        assert!(post.is_err(), "{post:?}");
        assert_eq!(api.connection(Method::DELETE, &id, "").await.0, 500);
        api.set_faults(&id, json!({})).await;
        assert_eq!(api.connection(Method::POST, &id, "sent").await.0, 200);
        assert_eq!(next(&mut client).await, tungstenite::Message::text("sent"));
        let unknown = api.request(Method::PUT, "/faults/unknown").json(&json!({})).send().await;
        assert_eq!(unknown.expect("it responds").status(), 404);
    }
}
