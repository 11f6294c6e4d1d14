//! `live-connect` without the local stack: which handshakes it accepts, and which connections it stores.

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use test_support::{Engine, Runtime, SigningKey, in_memory};

use crate::{
    events::connect_event,
    stack::now,
    standalone::{ISSUER, UNREACHABLE, signed_in, start},
};

struct Fixture {
    engine: Engine,
    function: Runtime,
    key: SigningKey,
    token: String,
}

fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

async fn function(database: &str, key: &SigningKey) -> Runtime {
    let pem = key.public_key_pem().expect("it has a public half");
    start("live-connect", &[("AWS_ENDPOINT_URL", database), ("CLERK_ISSUER", ISSUER), ("CLERK_JWT_KEY", &pem)]).await
}

/// The status of the response and the accepted protocol.
async fn connect(function: &Runtime, event: Value) -> (Value, Option<String>) {
    let response = function.invoke_raw(event.to_string().into_bytes()).await;
    let protocol = response["headers"]["Sec-WebSocket-Protocol"].as_str().map(str::to_owned);
    (response["statusCode"].clone(), protocol)
}

impl Fixture {
    async fn new() -> Self {
        let engine = in_memory().await.expect("the engine starts");
        let (key, token) = signed_in(&json!({}));
        let function = function(engine.url(), &key).await;
        Self { engine, function, key, token }
    }

    async fn connect(&self, token: &str, connected_at: u64) -> (Value, Option<String>) {
        connect(&self.function, connect_event(token, "L0SM9cOFvHcCIhw=", connected_at)).await
    }

    async fn dynamodb(&self, operation: &str, body: Value) -> Value {
        let target = format!("DynamoDB_20120810.{operation}");
        // The engine does not verify signatures.
        let signature = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, \
                         Signature=0";
        let headers = [
            ("x-amz-target", target.as_str()),
            ("x-amz-date", "20260101T000000Z"),
            ("authorization", signature),
            ("content-type", "application/x-amz-json-1.0"),
        ];
        let request = headers
            .into_iter()
            .fold(reqwest::Client::new().post(self.engine.url()), |request, (name, value)| request.header(name, value));
        let response = request.body(body.to_string()).send().await.expect("the engine responds");
        assert_eq!(response.status(), 200, "{operation}");
        response.json().await.expect("JSON")
    }

    async fn rows(&self) -> Value {
        self.dynamodb("Scan", json!({ "TableName": "LiveConnectionsTable" })).await["Items"].clone()
    }
}

#[tokio::test]
async fn an_accepted_connection_is_stored_until_after_its_end() {
    let fixture = Fixture::new().await;
    let connected_at = now_ms();
    let (status, protocol) = fixture.connect(&fixture.token, connected_at).await;
    assert_eq!((status, protocol.as_deref()), (json!(200), Some("live.v1")));
    let rows = fixture.rows().await;
    let [row] = rows.as_array().expect("rows").as_slice() else { panic!("{rows}") };
    let expires_at: u64 = row["expiresAt"]["N"].as_str().expect("a number").parse().expect("seconds");
    let hours_2_minutes_10 = 2 * 3600 + 600;
    assert!((hours_2_minutes_10 - 60..=hours_2_minutes_10).contains(&(expires_at - now())), "{row}");
    assert_eq!(
        *row,
        json!({
            "userId": { "S": "user_ada" }, "connection": { "S": format!("{connected_at}#L0SM9cOFvHcCIhw=") },
            "sessionId": { "S": "sess_1" }, "expiresAt": { "N": expires_at.to_string() },
        })
    );
}

#[tokio::test]
async fn refused_connections_are_not_stored() {
    let fixture = Fixture::new().await;
    let (other_key, _) = signed_in(&json!({}));
    let forged = other_key.session_token(ISSUER, "user_ada", "sess_1", now(), &json!({})).expect("signed");
    let expired = fixture.key.session_token(ISSUER, "user_ada", "sess_1", now() - 600, &json!({})).expect("signed");
    for token in ["", "a.b.c", &forged, &expired] {
        assert_eq!(fixture.connect(token, now_ms()).await, (json!(401), None), "{token}");
    }
    assert_eq!(fixture.connect(&fixture.token, now_ms() - 9_000).await, (json!(503), None), "it could open too late");

    let end =
        json!({ "userId": { "S": "user_ada" }, "sessionId": { "S": "sess_1" }, "expiresAt": { "N": "9999999999" } });
    fixture.dynamodb("PutItem", json!({ "TableName": "SessionsTable", "Item": end })).await;
    assert_eq!(fixture.connect(&fixture.token, now_ms()).await, (json!(401), None), "the session has ended");
    let other_session = fixture.key.session_token(ISSUER, "user_ada", "sess_2", now(), &json!({})).expect("signed");
    let banned = json!({ "userId": { "S": "user_ada" }, "banned": { "BOOL": true } });
    fixture.dynamodb("PutItem", json!({ "TableName": "UsersTable", "Item": banned })).await;
    assert_eq!(fixture.connect(&other_session, now_ms()).await, (json!(401), None), "the account is banned");
    assert_eq!(fixture.rows().await, json!([]));
}

#[tokio::test]
async fn an_unreachable_database_refuses_connections_with_503() {
    let (key, token) = signed_in(&json!({}));
    let function = function(UNREACHABLE, &key).await;
    let event = connect_event(&token, "L0SM9cOFvHcCIhw=", now_ms());
    assert_eq!(connect(&function, event).await, (json!(503), None));
}

#[tokio::test]
async fn tokens_are_accepted_only_as_a_subprotocol() {
    let fixture = Fixture::new().await;
    let mut event = connect_event("-", "L0SM9cOFvHcCIhw=", now_ms());
    event["headers"]["Authorization"] = format!("Bearer {}", fixture.token).into();
    event["multiValueHeaders"]["Authorization"] = json!([format!("Bearer {}", fixture.token)]);
    event["queryStringParameters"] = json!({ "token": fixture.token });
    for protocols in [json!(["live.v1"]), json!(null)] {
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = protocols;
        assert_eq!(connect(&fixture.function, event.clone()).await, (json!(401), None));
    }
}

#[tokio::test]
async fn logs_name_the_route_and_no_token() {
    let fixture = Fixture::new().await;
    fixture.connect(&fixture.token, now_ms()).await;
    let log = fixture.function.log_until(|line| line["status"] == 200).await;
    let line: Value = serde_json::from_str(log.last().expect("a line")).expect("JSON");
    assert_eq!((&line["route"], &line["dynamodb_requests"]), (&json!("/$connect"), &json!(2)));
    assert!(log.iter().all(|line| !line.contains(&fixture.token)), "{log:#?}");
}
