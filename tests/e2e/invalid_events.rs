//! Events that clients can cause and that are not ordinary requests, given to function binaries.

use serde_json::{Map, Value, json};
use test_support::{Engine, Runtime, in_memory};

use crate::{
    events::event,
    sample::Sample,
    standalone::{ISSUER, signed_in, start},
};

/// The documented limits.
const MAX_URI: usize = 16 * 1024;
const MAX_HEADERS: usize = 64 * 1024;

/// The sample's function, and a token.
async fn resource(sample: &Sample) -> (Runtime, String, Engine) {
    let database = in_memory().await.expect("the engine starts");
    let (key, token) = signed_in(&json!({}));
    let pem = key.public_key_pem().expect("it has a public half");
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", database.url()), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)];
    (start(&sample.function, &variables).await, token, database)
}

async fn webhook() -> Runtime {
    start("clerk-webhook", &[("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]).await
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
async fn oversized_requests_are_rejected_and_the_function_keeps_running() {
    let sample = Sample::first();
    let (resource, token, _database) = resource(&sample).await;
    let webhook = webhook().await;
    let good = event("GET", &sample.path, &token);
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
        let path = format!("{}/{}", sample.path, character.repeat(30_000));
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
        for function in [&resource, &webhook] {
            let answer = function.invoke_raw(event.to_string().into_bytes()).await;
            let length = event.to_string().len();
            assert_eq!(code(&answer), (status, expected.to_owned()), "an event of {length} bytes: {answer}");
            assert_eq!(answer["headers"]["content-type"], "application/problem+json");
        }
    }

    // The largest that are accepted.
    let (status, expected) =
        code(&resource.invoke_raw(with(&good, &[("rawPath", path(MAX_URI))]).to_string().into()).await);
    assert_eq!((status, expected.as_str()), (404, "route_not_found"));
    let (status, _, _) = resource.invoke(with(&good, &[("rawQueryString", query(MAX_URI - sample.path.len()))])).await;
    assert_eq!(status, 200);
    let mut headers = good["headers"].clone();
    headers["x"] = json!("a".repeat(MAX_HEADERS - 2_000));
    assert_eq!(resource.invoke(with(&good, &[("headers", headers)])).await.0, 200);
    assert_eq!(resource.invoke(good).await.0, 200);
}

#[tokio::test]
async fn undecodable_requests_are_400() {
    let sample = Sample::first();
    let (resource, token, _database) = resource(&sample).await;
    let webhook = webhook().await;
    let good = event("POST", &sample.path, &token).to_string();
    let latin = |text: &str, place: &str| {
        let at = text.find(place).expect("the event holds it");
        let mut bytes = text.as_bytes().to_vec();
        bytes.insert(at, 0xe9);
        bytes
    };
    let base64 =
        with(&event("POST", &sample.path, &token), &[("isBase64Encoded", json!(true)), ("body", json!("no base64"))]);
    let mut method = event("POST", &sample.path, &token);
    method["requestContext"]["http"]["method"] = json!("NO METHOD");
    let nested = good.replace("\"api.example.com\"", &("[".repeat(200) + &"]".repeat(200)));
    let events = [
        latin(&good, "api.example.com"),
        latin(&good, &sample.path),
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
        for function in [&resource, &webhook] {
            let answer = function.invoke_raw(bytes.clone()).await;
            let event = String::from_utf8_lossy(&bytes);
            assert_eq!(code(&answer), (400, "invalid_request".to_owned()), "{event}: {answer}");
        }
    }
    // The rejected ones are counted like any other problem.
    let log = resource.log_until(|line| line["code"] == "invalid_request" && line["method"] == "-").await;
    assert!(log.last().is_some_and(|line| line.contains("\"Problems\":1")), "{log:?}");
    let fetched = event("GET", &sample.path, &token);
    assert_eq!(resource.invoke(fetched).await.0, 200);
}

/// API Gateway's `ANY` and `$default` routes hand preflights to the function.
#[tokio::test]
async fn preflights_are_204_on_every_path() {
    let sample = Sample::first();
    let (resource, token, _database) = resource(&sample).await;
    let webhook = webhook().await;
    let preflight = |path: &str| {
        let mut event = event("OPTIONS", path, "");
        event["headers"] = json!({
            "origin": "https://app.example.com", "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization,content-type,if-match", "host": "api.example.com",
        });
        event
    };
    let list = &sample.path;
    let paths = [list.clone(), format!("{list}/nonsense"), format!("{list}/a/b"), format!("{list}?limit=0")];
    for path in paths.iter().map(String::as_str).chain(["/unknown", "/"]) {
        for function in [&resource, &webhook] {
            let (status, _, body) = function.invoke(preflight(path)).await;
            assert_eq!((status, body), (json!(204), Value::Null), "{path}");
        }
    }
    // Without the header, OPTIONS is a method like any other.
    let (status, headers, body) = resource.invoke(event("OPTIONS", &sample.path, &token)).await;
    assert_eq!((status, &body["code"]), (json!(405), &json!("method_not_allowed")));
    assert!(headers["allow"].contains("POST"), "{headers:?}");
    let log = resource.log_until(|line| line["status"] == 405).await;
    assert!(!log.iter().any(|line| line.contains("\"status\":204")), "a preflight is logged: {log:#?}");
    // With another method, the header does not make a preflight.
    let mut get = event("GET", &sample.path, "");
    get["headers"] = json!({ "access-control-request-method": "PATCH" });
    assert_eq!(resource.invoke(get).await.0, 401);
}
