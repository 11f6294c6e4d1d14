//! Events that a client can cause and that are no ordinary request, handed to a real function binary.

use local::dynamodb::{InMemory, in_memory};
use serde_json::{Map, Value, json};

use crate::{
    by_hand::{ISSUER, Runtime, signed_in},
    events::event,
};

/// What the product documents as its limits.
const MAX_URI: usize = 16 * 1024;
const MAX_HEADERS: usize = 64 * 1024;

async fn chats() -> (Runtime, String, InMemory) {
    let database = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", database.url()),
        ("CLERK_ISSUER", ISSUER),
        ("CLERK_JWT_KEY", &pem),
        ("CHATS_TABLE", "ChatsTable"),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    (Runtime::start("chats", &variables).await, token, database)
}

async fn webhook() -> Runtime {
    let variables = [
        ("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ("SESSIONS_TABLE", "SessionsTable"),
        ("USERS_TABLE", "UsersTable"),
    ];
    Runtime::start("clerk-webhook", &variables).await
}

fn code(answer: &Value) -> (u64, String) {
    let body: Value = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
    (answer["statusCode"].as_u64().unwrap_or_default(), body["code"].as_str().unwrap_or_default().to_owned())
}

fn with(event: &Value, changes: &[(&str, Value)]) -> Value {
    let mut event = event.clone();
    for (member, value) in changes {
        event[*member] = value.clone();
    }
    event
}

fn many_headers(count: usize) -> Value {
    (0..count).map(|number| (format!("x-{number}"), json!(""))).collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn oversized_requests_are_rejected_and_the_function_lives_on() {
    let (chats, token, _database) = chats().await;
    let webhook = webhook().await;
    let good = event("GET", "/chats", &token);
    let path = |length: usize| json!(format!("/{}", "a".repeat(length - 1)));
    let query = |length: usize| json!("a".repeat(length));

    let mut events = Vec::new();
    for length in [MAX_URI + 1, 65_500, 65_533, 65_534, 65_535, 65_536, 1 << 17, 5_000_000] {
        events.push((with(&good, &[("rawPath", path(length))]), 414, "uri_too_long"));
        events.push((with(&good, &[("rawQueryString", query(length))]), 414, "uri_too_long"));
        let half = length / 2 + 1;
        events.push((with(&good, &[("rawPath", path(half)), ("rawQueryString", query(half))]), 414, "uri_too_long"));
    }
    // Each is three bytes once it is encoded, or six.
    for character in [" ", "ü", "%", "\u{0}"] {
        let path = format!("/chats/{}", character.repeat(30_000));
        events.push((with(&good, &[("rawPath", json!(path))]), 414, "uri_too_long"));
    }
    // HeaderMap's own limits are 24,576 and 32,768.
    for count in [2_049, 24_575, 24_577, 30_000, 32_767, 32_769, 100_000] {
        events.push((with(&good, &[("headers", many_headers(count))]), 431, "headers_too_large"));
    }
    events.push((with(&good, &[("headers", json!({ "x": "a".repeat(MAX_HEADERS) }))]), 431, "headers_too_large"));
    events.push((with(&good, &[("headers", json!({ "a".repeat(70_000): "x" }))]), 431, "headers_too_large"));
    events.push((with(&good, &[("cookies", json!(vec!["a=b"; 40_000]))]), 431, "headers_too_large"));

    for (event, status, expected) in events {
        for function in [&chats, &webhook] {
            let answer = function.invoke_raw(event.to_string().into_bytes()).await;
            let length = event.to_string().len();
            assert_eq!(code(&answer), (status, expected.to_owned()), "an event of {length} bytes: {answer}");
            assert_eq!(answer["headers"]["content-type"], "application/problem+json");
        }
    }

    // What just fits is served.
    let (status, expected) =
        code(&chats.invoke_raw(with(&good, &[("rawPath", path(MAX_URI))]).to_string().into()).await);
    assert_eq!((status, expected.as_str()), (404, "route_not_found"));
    let (status, _, _) = chats.invoke(with(&good, &[("rawQueryString", query(MAX_URI - "/chats".len()))])).await;
    assert_eq!(status, 200);
    let mut headers = good["headers"].clone();
    headers["x"] = json!("a".repeat(MAX_HEADERS - 2_000));
    assert_eq!(chats.invoke(with(&good, &[("headers", headers)])).await.0, 200);
    assert_eq!(chats.invoke(good).await.0, 200);
}

#[tokio::test]
async fn undecodable_requests_are_400() {
    let (chats, token, _database) = chats().await;
    let webhook = webhook().await;
    let good = event("POST", "/chats", &token).to_string();
    let latin = |text: &str, place: &str| {
        let at = text.find(place).expect("the event holds it");
        let mut bytes = text.as_bytes().to_vec();
        bytes.insert(at, 0xe9);
        bytes
    };
    let base64 =
        with(&event("POST", "/chats", &token), &[("isBase64Encoded", json!(true)), ("body", json!("no base64"))]);
    let mut method = event("POST", "/chats", &token);
    method["requestContext"]["http"]["method"] = json!("NO METHOD");
    let nested = good.replace("\"api.example.com\"", &("[".repeat(200) + &"]".repeat(200)));
    let events = [
        latin(&good, "api.example.com"),
        latin(&good, "/chats"),
        latin(&good, "Bearer"),
        vec![0xff; 10],
        Vec::new(),
        good.as_bytes().split_last().expect("it is not empty").1.to_vec(),
        [good.as_bytes(), b"x"].concat(),
        good.replace("api.example.com", "\\ud83d").into_bytes(),
        good.replace("api.example.com", "\n").into_bytes(),
        nested.into_bytes(),
        base64.to_string().into_bytes(),
        method.to_string().into_bytes(),
    ];
    for bytes in events {
        for function in [&chats, &webhook] {
            let answer = function.invoke_raw(bytes.clone()).await;
            let event = String::from_utf8_lossy(&bytes);
            assert_eq!(code(&answer), (400, "invalid_request".to_owned()), "{event}: {answer}");
        }
    }
    // The rejected ones are counted like any other problem.
    let log = chats.log_until(|line| line["code"] == "invalid_request" && line["method"] == "-").await;
    assert!(log.last().is_some_and(|line| line.contains("\"Problems\":1")), "{log:?}");
    let fetched = event("GET", "/chats", &token);
    assert_eq!(chats.invoke(fetched).await.0, 200);
}

/// API Gateway's `ANY` and `$default` routes hand preflights to the function.
#[tokio::test]
async fn preflights_are_answered_before_everything_else() {
    let (chats, token, _database) = chats().await;
    let webhook = webhook().await;
    let preflight = |path: &str| {
        let mut event = event("OPTIONS", path, "");
        event["headers"] = json!({
            "origin": "https://app.example.com", "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization,content-type,if-match", "host": "api.example.com",
        });
        event
    };
    for path in ["/chats", "/chats/nonsense", "/nowhere", "/", "/chats/a/b", "/chats?limit=0"] {
        for function in [&chats, &webhook] {
            let (status, _, body) = function.invoke(preflight(path)).await;
            assert_eq!((status, body), (json!(204), Value::Null), "{path}");
        }
    }
    // Without the header it is a method like any other.
    let (status, headers, body) = chats.invoke(event("OPTIONS", "/chats", &token)).await;
    assert_eq!((status, &body["code"]), (json!(405), &json!("method_not_allowed")));
    assert!(headers["allow"].contains("POST"), "{headers:?}");
    let log = chats.log_until(|line| line["status"] == 405).await;
    assert!(!log.iter().any(|line| line.contains("\"status\":204")), "a preflight is logged: {log:#?}");
    // Only a preflight is a preflight.
    let mut get = event("GET", "/chats", "");
    get["headers"] = json!({ "access-control-request-method": "PATCH" });
    assert_eq!(chats.invoke(get).await.0, 401);
}
