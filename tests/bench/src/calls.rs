//! The API's calls, and their correct responses.

use anyhow::{Result, ensure};
use axum::body::Bytes;
use serde_json::{Value, json};

use crate::fixture::{Fixture, WRITER, chat_id, reader};

/// A call of the API.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) function: &'static str,
    /// Makes the event. Each number makes a different one.
    event: fn(&Fixture, u64) -> Result<Bytes>,
    status: u64,
    is_correct: fn(&Value) -> bool,
    /// How many requests to DynamoDB it needs at most, by design.
    pub(crate) requests: usize,
}

pub(crate) const LIST_10: Call = Call {
    name: "list 10",
    function: "chats",
    event: |fixture, _| event(fixture, &reader(10), "GET", "/chats?limit=100", None),
    status: 200,
    is_correct: |body| has_chats(body, 10) && body["chats"][0]["id"] == chat_id(9),
    requests: 2,
};

pub(crate) const GET: Call = Call {
    name: "get",
    event: |fixture, _| event(fixture, &reader(10), "GET", &format!("/chats/{}", chat_id(3)), None),
    is_correct: |body| body["id"] == chat_id(3) && body["title"] == "Chat 3",
    requests: 1,
    ..LIST_10
};

/// Needs a number that no other creation had.
pub(crate) const CREATE: Call = Call {
    name: "create",
    event: |fixture, number| {
        let body = json!({ "id": new_id(number), "title": format!("New {number}") });
        event(fixture, WRITER, "POST", "/chats", Some(body))
    },
    status: 201,
    is_correct: |body| body["version"] == 1 && body["title"].as_str().is_some_and(|title| title.starts_with("New ")),
    ..LIST_10
};

/// The calls whose latency is measured.
pub(crate) const CALLS: [Call; 6] = [
    LIST_10,
    Call {
        name: "list 100",
        event: |fixture, _| event(fixture, &reader(100), "GET", "/chats?limit=100", None),
        is_correct: |body| has_chats(body, 100),
        ..LIST_10
    },
    GET,
    CREATE,
    Call {
        name: "update",
        event: |fixture, number| {
            let body = json!({ "title": format!("Updated {number}") });
            event(fixture, WRITER, "PATCH", &format!("/chats/{}", chat_id(0)), Some(body))
        },
        is_correct: |body| body["version"].as_u64() > Some(1) && body["id"] == chat_id(0),
        ..LIST_10
    },
    Call {
        name: "profile",
        function: "profile",
        event: |fixture, _| event(fixture, &reader(10), "GET", "/profile", None),
        is_correct: |body| body["firstName"] == "Ada" && body["email"] == "user_10@example.com",
        requests: 1,
        ..LIST_10
    },
];

/// Deletes what `create` with the same number has created.
pub(crate) const DELETE: Call = Call {
    name: "delete",
    event: |fixture, number| event(fixture, WRITER, "DELETE", &format!("/chats/{}", new_id(number)), None),
    status: 204,
    is_correct: Value::is_null,
    ..LIST_10
};

impl Call {
    pub(crate) fn event(&self, fixture: &Fixture, number: u64) -> Result<Bytes> {
        (self.event)(fixture, number)
    }

    /// Fails unless the response is correct.
    pub(crate) fn check(&self, response: &Value) -> Result<()> {
        let body = response["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let correct = response["statusCode"] == self.status && (self.is_correct)(&body);
        ensure!(correct, "the response to {} is {response}", self.name);
        Ok(())
    }
}

fn has_chats(body: &Value, number: usize) -> bool {
    body["chats"].as_array().is_some_and(|chats| chats.len() == number) && body["cursor"].is_null()
}

pub(crate) fn new_id(number: u64) -> String {
    uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + number, &[7; 10]).into_uuid().to_string()
}

/// An event of API Gateway's HTTP API, in payload format 2.0.
pub(crate) fn event(fixture: &Fixture, user: &str, method: &str, url: &str, body: Option<Value>) -> Result<Bytes> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {
            "accept": "*/*", "authorization": format!("Bearer {}", fixture.token(user)?), "content-length": "0",
            "host": "api.example.com", "user-agent": "curl/8.0", "x-forwarded-for": "192.0.2.1",
            "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793", "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.0",
            },
            "requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_000_u64,
        },
        "isBase64Encoded": false,
    });
    if let Some((name, value)) = query.split_once('=') {
        event["queryStringParameters"] = json!({ name: value });
    }
    if let Some(body) = body {
        event["headers"]["content-type"] = "application/json".into();
        event["body"] = body.to_string().into();
    }
    Ok(event.to_string().into())
}
