//! Events through Lambda's `Invoke`: the sample events, and events that API Gateway never sends.

use std::{fs, path::Path, time::Duration};

use api::Operation;
use clerk_auth::user_tag;
use serde_json::{Value, json};

use crate::{
    client::{Response, User},
    sample::Sample,
    stack::{Stack, file, stack, workspace},
};

/// Each sample event (`functions/*/events/*.json`): its function and its name.
pub(crate) fn sample_events() -> Vec<(String, String)> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.expect("the folder is readable").path()).collect::<Vec<_>>()
    };
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut events = Vec::new();
    for function in entries(&workspace().join("functions")) {
        events.extend(entries(&function.join("events")).iter().map(|event| (name(&function), name(event))));
    }
    assert!(events.len() > 1, "{events:?}");
    events
}

async fn invoke(function: &str, event: &Value) -> Response {
    Response::to(reqwest::Client::new().post(stack().invoke(function)).json(event)).await
}

/// An API Gateway event in payload format 2.0.
pub(crate) fn event(method: &str, path: &str, token: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": { "authorization": format!("Bearer {token}"), "host": "api.example.com" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test" },
            "requestId": "id", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_000_u64,
        },
        "isBase64Encoded": false,
    })
}

/// API Gateway's event for a WebSocket that a client opens.
pub(crate) fn connect_event(token: &str, connection: &str, connected_at: u64) -> Value {
    let protocols = format!("live.v1, bearer.{token}");
    json!({
        "headers": { "Host": "live.example.com", "Sec-WebSocket-Protocol": protocols },
        "multiValueHeaders": { "Host": ["live.example.com"], "Sec-WebSocket-Protocol": [protocols] },
        "requestContext": {
            "routeKey": "$connect", "eventType": "CONNECT", "messageDirection": "IN", "connectionId": connection,
            "connectedAt": connected_at, "requestTimeEpoch": connected_at, "requestId": "id", "extendedRequestId": "id",
            "domainName": "live.example.com", "stage": "v1", "apiId": "live",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": "test" },
        },
        "isBase64Encoded": false,
    })
}

/// A record of a table's stream.
pub(crate) fn stream_record(table: &str, keys: Value, new_image: Value) -> Value {
    let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}/stream/2026-11-26T00:00:00.000");
    let data =
        json!({ "Keys": keys, "NewImage": new_image, "SequenceNumber": "100000000000000000001", "SizeBytes": 100 });
    json!({
        "eventID": "1", "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1", "eventSourceARN": arn, "dynamodb": data,
    })
}

/// Whether a function's response is a success: to a request, or to a batch of records.
pub(crate) fn is_success(response: &Value) -> bool {
    let is_success = response["statusCode"].as_u64().is_some_and(|status| (200..300).contains(&status));
    is_success || response["batchItemFailures"] == json!([])
}

#[tokio::test]
async fn the_sample_events_succeed() {
    for (function, sample) in sample_events() {
        let event = serde_json::from_str(&stack().local(&["event", &function, &sample])).expect("JSON");
        let answer = invoke(&function, &event).await;
        assert!(is_success(&answer.body), "{function} {sample}: {answer:?}");
    }
    let raw =
        serde_json::from_str(&file("functions/clerk-webhook/events/user-created.json")).expect("a sample is JSON");
    let answer = invoke("clerk-webhook", &raw).await;
    assert_eq!(answer.body["statusCode"], 400, "a sample cannot be signed beforehand: {answer:?}");

    let unknown = stack().run(&["event", "profile", "no-such"]);
    let errors = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && errors.contains("Its samples are get-profile"), "{errors}");
}

#[tokio::test]
async fn malformed_events_do_not_stop_the_function() {
    let (ada, sample) = (User::sign_up("Ada"), Sample::first());
    let (function, list) = (&sample.function, &sample.path);
    let good = event("GET", list, &ada.token());
    let with = |changes: &[(&str, Value)]| {
        let mut event = good.clone();
        for (pointer, value) in changes {
            *event.pointer_mut(pointer).expect("the event has it") = value.clone();
        }
        event
    };
    let odd_headers = json!({
        "authorization": format!("Bearer {}", ada.token()), "x-name": "é\n", "not a name": "x", "x-number": 1,
        "host": "no host:at all", "x-forwarded-proto": "no scheme",
    });
    let invalid_id = if sample.has(Operation::Get) { 400 } else { 405 };
    let sanitized = [
        (with(&[("/headers", odd_headers)]), 200),
        (with(&[("/rawQueryString", json!("limit=1&x=ü \"<>\\^`{|}"))]), 200),
        (with(&[("/rawPath", json!(format!("{list}/a b\u{0}\"<>^`{{|}}ü#?")))]), invalid_id),
        (with(&[("/rawPath", json!(format!("{list}/%zz")))]), invalid_id),
        (with(&[("/rawPath", json!(list.trim_start_matches('/')))]), 200),
        (with(&[("/rawPath", json!(""))]), 404),
        (with(&[("/rawPath", json!(format!("//evil.example{list}")))]), 404),
        (with(&[("/rawPath", json!("/../../etc/passwd"))]), 404),
    ];
    for (event, status) in sanitized {
        let answer = invoke(function, &event).await;
        assert_eq!(answer.body["statusCode"], status, "{event}: {answer:?}");
    }

    for event in [json!({}), json!(null), json!([1]), json!("text"), json!({ "Records": [] })] {
        let answer = invoke(function, &event).await;
        assert!(answer.body.get("statusCode").is_none(), "{event} is not a request: {answer:?}");
        assert!(answer.body.to_string().contains("errorMessage"), "{event}: {answer:?}");
    }
    assert_eq!(invoke(function, &good).await.body["statusCode"], 200, "the function is running");
}

/// API Gateway passes on what a client writes into these.
#[tokio::test]
async fn forwarded_headers_change_nothing() {
    let (ada, sample) = (User::sign_up("Ada"), Sample::first());
    let forwarded = json!({
        "forwarded": "for=203.0.113.9;host=evil.example;proto=http", "x-forwarded-for": "203.0.113.9",
        "x-forwarded-host": "evil.example", "x-forwarded-port": "1", "x-forwarded-proto": "http",
        "x-http-method-override": "DELETE", "x-original-url": "/profile", "x-real-ip": "203.0.113.9",
        "x-rewrite-url": "/profile",
    });
    let mut created = event("POST", &sample.path, &ada.token());
    created["body"] = sample.create.to_string().into();
    for event in [created, event("GET", &sample.path, &ada.token()), event("GET", "/elsewhere", &ada.token())] {
        let plain = invoke(&sample.function, &event).await;
        let mut event = event;
        event["headers"].as_object_mut().expect("headers").extend(forwarded.as_object().expect("headers").clone());
        let answer = invoke(&sample.function, &event).await;
        assert_eq!(answer.body["statusCode"], plain.body["statusCode"], "{answer:?}");
        let text = answer.body.to_string();
        assert!(!text.contains("evil.example") && !text.contains("203.0.113.9"), "{text}");
    }
    assert!(!Stack::log().contains("203.0.113.9"));
}

#[tokio::test]
async fn logs_hold_no_tokens_texts_or_email_addresses() {
    let (ada, sample) = (User::sign_up("Ada"), Sample::first());
    ada.create(&sample).await;
    ada.get("/profile").await;
    let (token, user) = (ada.token(), user_tag(&ada.id));
    let answer = Response::to(
        crate::client::request(reqwest::Method::GET, &format!("{}?cursor=a-cursor-to-look-for", sample.path))
            .bearer_auth(&token),
    );
    answer.await.is_problem(400, "invalid_query");
    line(|line| line["user"] == user.as_str() && line["code"] == "invalid_query").await;
    line(|line| line["user"] == user.as_str() && line["route"] == "/profile").await;
    let log = Stack::log();
    let secrets = [token.as_str(), &ada.email, "a-cursor-to-look-for", &stack().webhook_secret()];
    for secret in secrets.into_iter().chain(sample.texts()) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// The log line of a request like `wanted`, once there is one.
pub(crate) async fn line(wanted: impl Fn(&Value) -> bool) -> Value {
    let search = async {
        loop {
            let log = Stack::log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.filter(|line| line["message"] == "request").find(&wanted) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), search)
        .await
        .unwrap_or_else(|_| panic!("no such line:\n{}", Stack::log()))
}

#[tokio::test]
async fn every_request_is_logged_with_its_user_and_cost() {
    let (ada, sample) = (User::sign_up("Ada"), Sample::first());
    ada.create(&sample).await;
    let user = user_tag(&ada.id);
    let created = line(|line| line["user"] == user.as_str() && line["method"] == "POST").await;
    assert_eq!((&created["route"], &created["status"]), (&json!(sample.route), &json!(201)), "{created}");
    assert_eq!((&created["level"], &created["function"]), (&json!("INFO"), &json!(sample.function)), "{created}");
    assert!(created["request_id"].is_string() && created["duration_ms"].is_number(), "{created}");
    // The session check reads an account and a session. The write is that of the item and its entry in the index.
    assert_eq!(created["dynamodb_requests"], 2, "{created}");
    assert_eq!((&created["read_units"], &created["write_units"]), (&json!(2), &json!(2)), "{created}");
    assert!(created.get("code").is_none() && created.get("Problems").is_none(), "{created}");

    ada.get(&format!("{}?limit=0", sample.path)).await.is_problem(400, "invalid_query");
    let rejected = line(|line| line["user"] == user.as_str() && line["code"] == "invalid_query").await;
    assert_eq!(rejected["Problems"], 1, "{rejected}");
    let directive = &rejected["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["function", "code"]]), "{rejected}");
    assert_eq!(directive["Metrics"], json!([{ "Name": "Problems" }]), "{rejected}");

    let event = line(|line| line["event"] == "user_changed" && line["outcome"] == "changed").await;
    assert_eq!((&event["Events"], &event["function"]), (&json!(1), &json!("clerk-webhook")), "{event}");
    let directive = &event["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["function", "event", "outcome"]]), "{event}");
    assert!(event["EventAge"].as_f64().is_some_and(|age| age < 60_000.0), "{event}");
}
