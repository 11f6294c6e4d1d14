//! Function binaries started by hand, as Lambda starts them: with `AWS_LAMBDA_RUNTIME_API` and their variables.

use std::{
    collections::HashMap,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use local::{
    clerk::SigningKey,
    dynamodb::{InMemory, in_memory},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
    time::timeout,
};

use crate::{events::event, stack::program};

/// Well within the functions' time-out in `template.yaml`, after which Lambda answers in their stead.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ISSUER: &str = "https://clerk.example.com";
/// A port that nothing listens on, so that connections are refused at once.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Lambda's Runtime API for one function: hands out events and takes answers.
pub(crate) struct Runtime {
    events: mpsc::Sender<Value>,
    answers: Mutex<mpsc::Receiver<Value>>,
    _function: Child,
}

struct Api {
    events: Mutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<Value>,
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let event = api.events.lock().await.recv().await;
    let deadline = UNIX_EPOCH.elapsed().expect("after 1970") + TIMEOUT;
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned()),
    ];
    (headers, Json(event))
}

async fn answer(State(api): State<Arc<Api>>, answer: Bytes) -> StatusCode {
    let answer = serde_json::from_slice(&answer).expect("an answer is JSON");
    api.answers.send(answer).await.expect("the test waits for it");
    StatusCode::ACCEPTED
}

fn command(function: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program(function));
    command
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", function),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ])
        .envs(variables.iter().copied())
        .kill_on_drop(true);
    command
}

impl Runtime {
    pub(crate) async fn start(function: &str, variables: &[(&str, &str)]) -> Self {
        let (events, to_function) = mpsc::channel(1);
        let (from_function, answers) = mpsc::channel(1);
        let api = Arc::new(Api { events: Mutex::new(to_function), answers: from_function });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answer))
            .with_state(api);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let function = command(function, variables)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdout(Stdio::null())
            .spawn()
            .expect("the function starts");
        Self { events, answers: Mutex::new(answers), _function: function }
    }

    /// What the function answers, within its time-out: the status and the body.
    pub(crate) async fn invoke(&self, event: Value) -> (Value, HashMap<String, String>, Value) {
        self.events.send(event).await.expect("the function asks for it");
        let answer = timeout(TIMEOUT, async { self.answers.lock().await.recv().await });
        let answer = answer.await.expect("in time").expect("an answer");
        let headers = serde_json::from_value(answer["headers"].clone()).expect("headers");
        let body = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        (answer["statusCode"].clone(), headers, body)
    }
}

/// A key, and a token that it signed for somebody whom no webhook has told of.
pub(crate) fn signed_in(extra: &Value) -> (SigningKey, String) {
    let key = SigningKey::generate().expect("a key");
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let token = key.session_token(ISSUER, "user_ada", "sess_1", now, extra).expect("signed");
    (key, token)
}

async fn profile(database: &InMemory, key: &SigningKey) -> Runtime {
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", database.url()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    Runtime::start("profile", &variables).await
}

#[tokio::test]
async fn a_profile_can_come_before_clerks_webhook() {
    let database = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({ "email": "ada@example.com" }));
    let profile = profile(&database, &key).await;
    let put = |body: Value| {
        let mut event = event("PUT", "/profile", &token);
        event["body"] = body.to_string().into();
        event
    };
    let get = event("GET", "/profile", &token);

    let (status, _, body) = profile.invoke(get.clone()).await;
    assert_eq!((status, &body["code"]), (json!(404), &json!("not_found")));
    let (status, _, body) = profile.invoke(put(json!({ "email": "other@example.com" }))).await;
    assert_eq!((status, &body["code"]), (json!(403), &json!("contradicts_token")));
    let (status, _, body) = profile.invoke(put(json!({ "firstName": "Ada" }))).await;
    assert_eq!(status, 201);
    assert_eq!((&body["email"], &body["firstName"]), (&json!("ada@example.com"), &json!("Ada")));
    let (status, _, changed) = profile.invoke(put(json!({ "lastName": "Lovelace" }))).await;
    assert_eq!((status, &changed["firstName"], &changed["lastName"]), (json!(200), &json!("Ada"), &json!("Lovelace")));
    assert_eq!(profile.invoke(get).await.2, changed);
}

#[tokio::test]
async fn a_database_that_is_away_is_503_in_good_time() {
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("CHATS_TABLE", "ChatsTable"),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    let chats = Runtime::start("chats", &variables).await;
    let (status, headers, body) = chats.invoke(event("GET", "/chats", &token)).await;
    assert_eq!((status, &body["code"]), (json!(503), &json!("unavailable")));
    assert!(headers.contains_key("retry-after"), "{headers:?}");
    assert!(!body.to_string().contains("127.0.0.1"), "what is wrong inside is not for callers: {body}");
}

#[tokio::test]
async fn an_issuer_that_is_away_is_503_and_no_refusal() {
    let (_, token) = signed_in(&json!({}));
    let variables = [
        ("CLERK_ISSUER", NOWHERE),
        ("CHATS_TABLE", "ChatsTable"),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    let chats = Runtime::start("chats", &variables).await;
    for _ in 0..2 {
        let (status, headers, body) = chats.invoke(event("GET", "/chats", &token)).await;
        assert_eq!((status, &body["code"]), (json!(503), &json!("unavailable")));
        assert!(headers.contains_key("retry-after") && !headers.contains_key("www-authenticate"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_be_checked_is_500_so_that_it_is_sent_again() {
    for secret in ["", "no secret at all!"] {
        let variables = [
            ("CLERK_WEBHOOK_SIGNING_SECRET", secret),
            ("SESSIONS_TABLE", "SessionsTable"),
            ("USERS_TABLE", "UsersTable"),
        ];
        let webhook = Runtime::start("clerk-webhook", &variables).await;
        let (status, _, body) = webhook.invoke(event("POST", "/", "")).await;
        assert_eq!((status, &body["code"]), (json!(500), &json!("internal")), "{secret:?}");
        assert!(secret.is_empty() || !body.to_string().contains(secret));
    }
}

#[tokio::test]
async fn a_signed_webhook_that_cannot_be_stored_is_503_so_that_it_is_sent_again() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    let webhook = Runtime::start("clerk-webhook", &variables).await;
    let body = json!({ "type": "user.created", "data": { "id": "user_ada" } }).to_string();
    let now = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
    let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let signature = signer.sign("msg_1", now, body.as_bytes()).expect("UTF-8");
    let mut delivery = event("POST", "/", "");
    delivery["headers"] = json!({ "svix-id": "msg_1", "svix-timestamp": now.to_string(), "svix-signature": signature });
    delivery["body"] = body.into();
    let (status, headers, _) = webhook.invoke(delivery).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after"), "{headers:?}");
}

#[tokio::test]
async fn a_function_that_lacks_a_setting_does_not_start_and_names_it() {
    type Variables = [(&'static str, &'static str)];
    let issuer = ("CLERK_ISSUER", ISSUER);
    let (chats, users) = (("CHATS_TABLE", "ChatsTable"), ("USERS_TABLE", "UsersTable"));
    let cases: [(&str, &Variables, &str); 8] = [
        ("chats", &[("CHATS_TABLE", "ChatsTable")], "CLERK_ISSUER is not set"),
        ("chats", &[issuer], "CHATS_TABLE is not set"),
        ("chats", &[issuer, ("CHATS_TABLE", ""), ("CLERK_JWT_KEY", "")], "CHATS_TABLE is not set"),
        ("chats", &[issuer, ("CHATS_TABLE", "ChatsTable"), ("CLERK_JWT_KEY", "no key")], "CLERK_JWT_KEY is not"),
        ("chats", &[issuer, chats], "USERS_TABLE is not set"),
        ("chats", &[issuer, chats, users], "SESSIONS_TABLE is not set"),
        ("profile", &[issuer], "USERS_TABLE is not set"),
        ("clerk-webhook", &[], "USERS_TABLE is not set"),
    ];
    for (function, variables, expected) in cases {
        let run = command(function, variables).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1").output();
        let Output { status, stdout, .. } = timeout(TIMEOUT, run).await.expect("in time").expect("it runs");
        let log = String::from_utf8_lossy(&stdout);
        assert!(!status.success() && log.contains(expected), "{function} {variables:?} logged {log}");
        assert!(!log.contains("no key"), "{log}");
    }
}
