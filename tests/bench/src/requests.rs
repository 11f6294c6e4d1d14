//! The requests that functions are measured with, and what a right answer is.

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use serde_json::{Value, json};

use crate::world::{WRITER, World, chat_id, now, owner_of, sign};

/// A request, as often as it is wanted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) function: &'static str,
    /// Makes the event; the number is another each time.
    make: fn(&World, u64) -> Result<Value>,
    status: u64,
    is_right: fn(&Value) -> bool,
}

pub(crate) const LIST_10: Case = Case {
    name: "list 10",
    function: "chats",
    make: |world, _| list(world, &owner_of(10), 100),
    status: 200,
    is_right: |body| has_chats(body, 10) && body["chats"][0]["id"] == chat_id(9),
};

pub(crate) const GET: Case = Case {
    name: "get",
    function: "chats",
    make: |world, _| api_call(world, &owner_of(10), "GET", &format!("/chats/{}", chat_id(3)), None),
    status: 200,
    is_right: |body| body["id"] == chat_id(3) && body["title"] == "Chat 3",
};

pub(crate) const CREATE: Case = Case {
    name: "create",
    function: "chats",
    make: |world, number| create(world, WRITER, number),
    status: 201,
    is_right: |body| body["version"] == 1 && body["title"].as_str().is_some_and(|title| title.starts_with("New ")),
};

/// One of each.
pub(crate) const CASES: [Case; 8] = [
    Case {
        name: "list 0",
        function: "chats",
        make: |world, _| list(world, &owner_of(0), 100),
        status: 200,
        is_right: |body| has_chats(body, 0),
    },
    LIST_10,
    Case {
        name: "list 100",
        function: "chats",
        make: |world, _| list(world, &owner_of(100), 100),
        status: 200,
        is_right: |body| has_chats(body, 100),
    },
    GET,
    CREATE,
    Case {
        name: "rename",
        function: "chats",
        make: |world, number| {
            let path = format!("/chats/{}", chat_id(0));
            api_call(world, WRITER, "PATCH", &path, Some(json!({ "title": format!("Renamed {number}") })))
        },
        status: 200,
        is_right: |body| body["version"].as_u64() > Some(1) && body["id"] == chat_id(0),
    },
    Case {
        name: "profile",
        function: "profile",
        make: |world, _| api_call(world, &owner_of(10), "GET", "/profile", None),
        status: 200,
        is_right: |body| body["firstName"] == "Ada" && body["email"] == "user_10@example.com",
    },
    Case { name: "webhook", function: "clerk-webhook", make: webhook, status: 200, is_right: |_| true },
];

/// What chats refuses, each for another reason.
pub(crate) const REFUSED: [Case; 6] = [
    Case {
        name: "no token",
        function: "chats",
        make: |_, _| Ok(event("GET", "/chats")),
        status: 401,
        is_right: |body| body["code"] == "token_missing",
    },
    Case {
        name: "a token signed for somebody else",
        function: "chats",
        make: |world, _| {
            let (claims, other) = (world.token(&owner_of(10))?, world.token(&owner_of(100))?);
            let (claims, _) = claims.rsplit_once('.').context("a token has parts")?;
            let (_, signature) = other.rsplit_once('.').context("a token has parts")?;
            let mut event = event("GET", "/chats");
            event["headers"]["authorization"] = format!("Bearer {claims}.{signature}").into();
            Ok(event)
        },
        status: 401,
        is_right: |body| body["code"] == "token_bad_signature",
    },
    Case {
        name: "no such path",
        function: "chats",
        make: |world, _| api_call(world, &owner_of(10), "GET", "/nothing", None),
        status: 404,
        is_right: |body| body["code"] == "route_not_found",
    },
    Case {
        name: "an id that is none",
        function: "chats",
        make: |world, _| api_call(world, &owner_of(10), "GET", "/chats/first", None),
        status: 400,
        is_right: |body| body["code"] == "invalid_id",
    },
    Case {
        name: "somebody else's chat",
        function: "chats",
        make: |world, _| api_call(world, &owner_of(0), "GET", &format!("/chats/{}", chat_id(3)), None),
        status: 404,
        is_right: |body| body["code"] == "not_found",
    },
    Case {
        name: "a title that is none",
        function: "chats",
        make: |world, _| api_call(world, WRITER, "POST", "/chats", Some(json!({ "title": 1 }))),
        status: 422,
        is_right: |body| body["code"] == "invalid_body",
    },
];

impl Case {
    pub(crate) fn event(&self, world: &World, number: u64) -> Result<Bytes> {
        Ok((self.make)(world, number)?.to_string().into())
    }

    /// Fails unless the answer is the right one.
    pub(crate) fn check(&self, answer: &Value) -> Result<()> {
        let body = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let right = answer["statusCode"] == self.status && (self.is_right)(&body);
        ensure!(right, "{} was answered with {answer}", self.name);
        Ok(())
    }
}

fn has_chats(body: &Value, number: usize) -> bool {
    body["chats"].as_array().is_some_and(|chats| chats.len() == number) && body["cursor"].is_null()
}

fn list(world: &World, user: &str, limit: u8) -> Result<Value> {
    let mut event = api_call(world, user, "GET", "/chats", None)?;
    event["rawQueryString"] = format!("limit={limit}").into();
    event["queryStringParameters"] = json!({ "limit": limit.to_string() });
    Ok(event)
}

fn create(world: &World, user: &str, number: u64) -> Result<Value> {
    api_call(world, user, "POST", "/chats", Some(json!({ "title": format!("New {number}") })))
}

/// What is done to a person's chats as they grow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Operation {
    /// The ten newest.
    List,
    /// The oldest.
    Get,
    Create,
}

impl Operation {
    pub(crate) const ALL: [Self; 3] = [Self::List, Self::Get, Self::Create];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Create => "create",
        }
    }

    pub(crate) fn event(self, world: &World, user: &str, number: u64) -> Result<Bytes> {
        let event = match self {
            Self::List => list(world, user, 10),
            Self::Get => api_call(world, user, "GET", &format!("/chats/{}", chat_id(0)), None),
            Self::Create => create(world, user, number),
        };
        Ok(event?.to_string().into())
    }

    /// What takes its effect back. Fails unless the answer is the right one.
    pub(crate) fn undo(self, world: &World, user: &str, answer: &Value) -> Result<Option<Bytes>> {
        let body: Value = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let right = match self {
            Self::List => {
                answer["statusCode"] == 200 && body["chats"].as_array().is_some_and(|chats| chats.len() == 10)
            }
            Self::Get => answer["statusCode"] == 200 && body["id"] == chat_id(0),
            Self::Create => answer["statusCode"] == 201,
        };
        ensure!(right, "{} was answered with {answer}", self.name());
        let created = body["id"].as_str().filter(|_| self == Self::Create);
        let undo = created.map(|id| api_call(world, user, "DELETE", &format!("/chats/{id}"), None)).transpose()?;
        Ok(undo.map(|event| event.to_string().into()))
    }
}

/// An event of API Gateway's HTTP API, in payload format 2.0.
fn api_call(world: &World, user: &str, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
    let mut event = event(method, path);
    event["headers"]["authorization"] = format!("Bearer {}", world.token(user)?).into();
    if let Some(body) = body {
        event["headers"]["content-type"] = "application/json".into();
        event["body"] = body.to_string().into();
    }
    Ok(event)
}

/// A newer state of somebody each time.
fn webhook(_: &World, number: u64) -> Result<Value> {
    let (id, timestamp, updated_at) = (format!("msg_{number}"), now(), 1_700_000_000_001 + number);
    let body = json!({
        "type": "user.updated", "object": "event", "timestamp": timestamp * 1000, "instance_id": "ins_bench",
        "data": {
            "id": "user_hooked", "object": "user", "first_name": "Ada", "last_name": "Lovelace", "banned": false,
            "image_url": "https://img.clerk.com/ada", "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "object": "email_address", "email_address": "ada@example.com" }],
            "created_at": 1_700_000_000_000_u64, "updated_at": updated_at,
        },
    })
    .to_string();
    let mut event = event("POST", "/");
    event["headers"]["content-type"] = "application/json".into();
    event["headers"]["svix-id"] = id.clone().into();
    event["headers"]["svix-timestamp"] = timestamp.to_string().into();
    event["headers"]["svix-signature"] = sign(&id, timestamp, &body)?.into();
    event["body"] = body.into();
    Ok(event)
}

fn event(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {
            "accept": "*/*", "content-length": "0", "host": "api.example.com", "user-agent": "curl/8.0",
            "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793", "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443", "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl/8.0" },
            "requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_000_u64,
        },
        "isBase64Encoded": false,
    })
}
