//! A database that fails in every way: no wrong answer, no acknowledged write that is lost, no write that is made twice,
//! and no fault that outlives its cause.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use http_body::{Body as HttpBody, Frame};
use local::dynamodb::{InMemory, in_memory};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::Notify, time::sleep};
use uuid::Uuid;

use crate::{
    by_hand::{ISSUER, Runtime, signed_in},
    events::event,
    stack::program,
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What the proxy does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// DynamoDB asks to be asked later.
    Throttled,
    /// DynamoDB fails.
    Failed,
    /// The answer breaks off; nothing was done.
    Reset,
    /// It was done, and the answer breaks off.
    AnswerLost,
    /// An answer that is none.
    Garbage,
    /// No answer ever.
    Silence,
    /// An answer that takes a second.
    Slow,
    /// Nothing is done until the test says so.
    Held,
}

/// A fault, the operation it befalls (any, if empty), and how often.
type Plan = Option<(Fault, &'static str, usize)>;

struct Proxy {
    engine: String,
    http: reqwest::Client,
    plan: Mutex<Plan>,
    /// Told of a request that is held, and of its release.
    held: Notify,
    released: Notify,
    calls: Mutex<Vec<Call>>,
}

/// A request that a function made to an AWS service.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) function: String,
    /// Such as `DynamoDB_20120810.Query`.
    pub(crate) target: String,
    pub(crate) body: Value,
}

/// A body that breaks off before it ends.
struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

impl Proxy {
    /// The fault that befalls a request for `operation`, if any does.
    fn fault(&self, operation: &str) -> Option<Fault> {
        let mut plan = self.plan.lock().expect("nobody failed while holding it");
        let (fault, befallen, times) = plan.as_mut()?;
        if *times == 0 || !operation.ends_with(*befallen) {
            return None;
        }
        *times -= 1;
        Some(*fault)
    }

    async fn forward(&self, headers: HeaderMap, body: Bytes) -> Response {
        let answer = self.http.post(&self.engine).headers(headers).body(body).send().await.expect("the engine answers");
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.bytes().await.expect("whole")).into_response()
    }
}

/// Each function reaches it by a path of its own.
async fn relay(State(proxy): State<Arc<Proxy>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let operation = headers["x-amz-target"].to_str().expect("an operation's name").to_owned();
    proxy.calls.lock().expect("nobody failed while holding it").push(Call {
        function: uri.path().trim_matches('/').to_owned(),
        target: operation.clone(),
        body: serde_json::from_slice(&body).expect("a request is JSON"),
    });
    if operation.starts_with("secretsmanager.") {
        return axum::Json(json!({ "Name": "secret", "SecretString": SECRET })).into_response();
    }
    let error = |status: StatusCode, kind: &str| {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "on purpose" });
        (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
    };
    match proxy.fault(&operation) {
        None => proxy.forward(headers, body).await,
        Some(Fault::Throttled) => error(StatusCode::BAD_REQUEST, "ThrottlingException"),
        Some(Fault::Failed) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        Some(Fault::Reset) => Body::new(Broken).into_response(),
        Some(Fault::AnswerLost) => {
            drop(proxy.forward(headers, body).await);
            Body::new(Broken).into_response()
        }
        Some(Fault::Garbage) => "<html>It works!</html>".into_response(),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Held) => {
            proxy.held.notify_one();
            proxy.released.notified().await;
            proxy.forward(headers, body).await
        }
        Some(Fault::Slow) => {
            sleep(Duration::from_secs(1)).await;
            proxy.forward(headers, body).await
        }
    }
}

/// All functions over an engine of their own, with the proxy between.
pub(crate) struct Stack {
    proxy: Arc<Proxy>,
    engine: InMemory,
    chats: Runtime,
    profile: Runtime,
    webhook: Runtime,
    token: String,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        let engine = in_memory().await.expect("the engine starts");
        let proxy = Arc::new(Proxy {
            engine: engine.url().to_owned(),
            http: reqwest::Client::new(),
            plan: Mutex::new(None),
            held: Notify::new(),
            released: Notify::new(),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new().fallback(relay).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, router).await });

        let (key, token) = signed_in(&json!({}));
        let pem = key.public_key_pem().expect("it has a public half");
        let start = async |function| {
            let url = format!("{url}/{function}");
            let variables = [
                ("AWS_ENDPOINT_URL", url.as_str()),
                ("CHATS_TABLE", "ChatsTable"),
                ("CLERK_ISSUER", ISSUER),
                ("CLERK_JWT_KEY", &pem),
                ("CLERK_WEBHOOK_SIGNING_SECRET_ARN", "WebhookSecret"),
                ("SESSIONS_TABLE", "SessionsTable"),
                ("USERS_TABLE", "UsersTable"),
            ];
            Runtime::start(function, &variables).await
        };
        Self {
            chats: start("chats").await,
            profile: start("profile").await,
            webhook: start("clerk-webhook").await,
            proxy,
            engine,
            token,
        }
    }

    fn plan(&self, plan: Plan) {
        *self.proxy.plan.lock().expect("nobody failed while holding it") = plan;
    }

    /// All requests that the functions have made so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.proxy.calls.lock().expect("nobody failed while holding it").clone()
    }

    /// A call to the API: its status and its body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u64, Value) {
        self.call_if(method, path, body, "").await
    }

    async fn call_if(&self, method: &str, path: &str, body: Value, if_match: &str) -> (u64, Value) {
        let mut event = event(method, path, &self.token);
        if !body.is_null() {
            event["body"] = body.to_string().into();
        }
        if !if_match.is_empty() {
            event["headers"]["if-match"] = if_match.into();
        }
        let function = if path == "/profile" { &self.profile } else { &self.chats };
        let (status, headers, body) = function.invoke(event).await;
        let status = status.as_u64().expect("a status");
        assert_eq!(status == 503, headers.contains_key("retry-after"), "{method} {path}: {headers:?}");
        (status, body)
    }

    pub(crate) async fn deliver(&self, body: Value) -> u64 {
        let body = body.to_string();
        let now = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
        let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
        let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
        let mut event = event("POST", "/", "");
        event["headers"] =
            json!({ "svix-id": "msg_1", "svix-timestamp": now.to_string(), "svix-signature": signature });
        event["body"] = body.into();
        self.webhook.invoke(event).await.0.as_u64().expect("a status")
    }

    async fn create(&self, title: &str) -> String {
        let (status, chat) = self.call("POST", "/chats", json!({ "title": title })).await;
        assert_eq!(status, 201, "{chat}");
        format!("/chats/{}", chat["id"].as_str().expect("an id"))
    }

    async fn titles(&self) -> Vec<Value> {
        let (status, page) = self.call("GET", "/chats", Value::Null).await;
        assert_eq!(status, 200, "{page}");
        page["chats"].as_array().expect("chats").iter().map(|chat| chat["title"].clone()).collect()
    }
}

/// While nothing else gets through, every call is 503, nothing is changed, and the first call afterwards succeeds.
async fn outage(fault: Fault) {
    let stack = Stack::start().await;
    let path = stack.create("plans").await;
    let title = json!({ "title": "other" });
    let details = json!({ "firstName": "Ada" });
    let user = json!({ "type": "user.created", "data": { "id": "user_eve", "updated_at": 1 } });
    stack.plan(Some((fault, "", usize::MAX)));
    for (method, path, body) in [
        ("GET", "/chats", Value::Null),
        ("POST", "/chats", title.clone()),
        ("GET", &path, Value::Null),
        ("PATCH", &path, title.clone()),
        ("DELETE", &path, Value::Null),
        ("GET", "/profile", Value::Null),
        ("PUT", "/profile", details),
    ] {
        let (status, problem) = stack.call(method, path, body).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{fault:?}: {method} {path}");
    }
    assert_eq!(stack.deliver(user.clone()).await, 503, "{fault:?}");
    stack.plan(None);
    assert_eq!(stack.titles().await, ["plans"], "{fault:?}");
    assert_eq!(stack.call("GET", "/profile", Value::Null).await.0, 404, "{fault:?}");
    assert_eq!(stack.deliver(user).await, 200, "{fault:?}");
}

#[tokio::test]
async fn throttling_is_503_until_it_is_over() {
    outage(Fault::Throttled).await;
}

#[tokio::test]
async fn failures_are_503_until_they_are_over() {
    outage(Fault::Failed).await;
}

#[tokio::test]
async fn broken_connections_are_503_until_they_hold() {
    outage(Fault::Reset).await;
}

#[tokio::test]
async fn garbage_is_503_until_it_makes_sense() {
    outage(Fault::Garbage).await;
}

#[tokio::test]
async fn silence_is_503_within_the_functions_time() {
    let stack = Stack::start().await;
    stack.plan(Some((Fault::Silence, "", usize::MAX)));
    for (method, body) in [("GET", Value::Null), ("POST", json!({ "title": "plans" }))] {
        assert_eq!(stack.call(method, "/chats", body).await.0, 503);
    }
    stack.plan(None);
    assert!(stack.titles().await.is_empty());
}

#[tokio::test]
async fn a_fault_that_passes_is_not_noticed() {
    let stack = Stack::start().await;
    for fault in [Fault::Throttled, Fault::Failed, Fault::Reset, Fault::Silence, Fault::Slow] {
        stack.plan(Some((fault, "", 1)));
        let path = stack.create("plans").await;
        for operation in ["Query", "BatchGetItem"] {
            stack.plan(Some((fault, operation, 1)));
            assert_eq!(stack.titles().await, ["plans"], "{fault:?} of {operation}");
        }
        stack.plan(Some((fault, "UpdateItem", 1)));
        assert_eq!(stack.call("DELETE", &path, Value::Null).await.0, 204, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_made_once_and_answered_as_it_was() {
    let stack = Stack::start().await;
    let lose = |operation| stack.plan(Some((Fault::AnswerLost, operation, 1)));

    lose("UpdateItem");
    let path = stack.create("plans").await;
    lose("UpdateItem");
    let named = json!({ "title": "named", "id": Uuid::now_v7().to_string() });
    assert_eq!(stack.call("POST", "/chats", named.clone()).await.0, 201);
    assert_eq!(stack.call("POST", "/chats", named).await.0, 200, "sent again by the client it is known");
    assert_eq!(stack.titles().await, ["named", "plans"]);

    lose("UpdateItem");
    let (status, chat) = stack.call("PATCH", &path, json!({ "title": "b" })).await;
    assert_eq!((status, &chat["title"], &chat["version"]), (200, &json!("b"), &json!(2)));
    lose("UpdateItem");
    let (status, chat) = stack.call_if("PATCH", &path, json!({ "title": "c" }), "\"2\"").await;
    assert_eq!((status, &chat["title"], &chat["version"]), (200, &json!("c"), &json!(3)));
    let (status, problem) = stack.call_if("PATCH", &path, json!({ "title": "d" }), "\"2\"").await;
    assert_eq!((status, &problem["version"]), (412, &json!(3)));

    lose("UpdateItem");
    assert_eq!(stack.call("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(stack.call("DELETE", &path, Value::Null).await.0, 404);

    lose("UpdateItem");
    assert_eq!(stack.call("PUT", "/profile", json!({ "firstName": "Ada" })).await.0, 201);
    lose("UpdateItem");
    assert_eq!(stack.call("PUT", "/profile", json!({ "lastName": "Lovelace" })).await.0, 200);
    lose("UpdateItem");
    let user = json!({ "type": "user.created", "data": { "id": "user_ada", "first_name": "A", "updated_at": 1 } });
    assert_eq!(stack.deliver(user).await, 200);
    assert_eq!(stack.call("GET", "/profile", Value::Null).await.1["firstName"], "A");
}

#[tokio::test]
async fn when_the_account_cannot_be_looked_up_nothing_is_read_and_nothing_is_written() {
    let stack = Stack::start().await;
    let path = stack.create("plans").await;
    for fault in [Fault::Throttled, Fault::Garbage] {
        stack.plan(Some((fault, "BatchGetItem", usize::MAX)));
        for (method, path, body) in [
            ("GET", "/chats", Value::Null),
            ("GET", &path, Value::Null),
            ("POST", "/chats", json!({ "title": "other" })),
            ("PATCH", &path, json!({ "title": "other" })),
            ("DELETE", &path, Value::Null),
            ("PUT", "/profile", json!({})),
        ] {
            let (status, problem) = stack.call(method, path, body).await;
            assert_eq!(status, 503, "{method} {path}: {problem}");
            assert!(!problem.to_string().contains("plans"), "{problem}");
        }
        stack.plan(None);
        assert_eq!(stack.titles().await, ["plans"]);
        assert_eq!(stack.call("GET", "/profile", Value::Null).await.0, 404);
    }
}

#[tokio::test]
async fn a_write_in_flight_holds_off_the_erasure() {
    let stack = Stack::start().await;
    stack.plan(Some((Fault::Held, "UpdateItem", 1)));
    let port = stack.engine.url().rsplit(':').next().expect("a port").to_owned();
    let erase = async |arguments: &[&str]| {
        let mut command = Command::new(program("operate"));
        command.arg("erase").args(arguments).env("DYNAMODB_PORT", &port).env_remove("STACK");
        command.env("LOCAL_DATA", stack.engine.data());
        let output = command.output().await.expect("operate runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let write = stack.call("POST", "/chats", json!({ "title": "in flight" }));
    let erasure = async {
        stack.proxy.held.notified().await;
        // Announced long ago, and received only now.
        let deletion = json!({ "type": "user.deleted", "timestamp": 1000, "data": { "id": "user_ada" } });
        assert_eq!(stack.deliver(deletion).await, 200);
        let said = [erase(&["--user", "user_ada"]).await, erase(&["--days", "0"]).await];
        stack.proxy.released.notify_one();
        said
    };
    let ((status, _), [of_user, of_all]) = tokio::join!(write, erasure);
    assert_eq!(status, 201, "it was let in before the deletion");
    assert!(of_user.contains("was deleted a moment ago"), "{of_user}");
    assert!(of_all.contains("0 people erased"), "{of_all}");
}
