//! WebSocket handshakes: the token comes only as a subprotocol.

#![allow(clippy::expect_used, reason = "a test fails where something is missing")]

use api::connect;
use axum::http::header;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use store::NewConnection;

fn event(headers: Value) -> Value {
    json!({
        "multiValueHeaders": headers,
        "requestContext": { "eventType": "CONNECT", "connectionId": "L0SM9cOFvHcCIhw=", "connectedAt": 1_764_000_000_000_u64 },
    })
}

/// The Authorization header of the request that an event becomes.
fn authorization(event: &Value) -> Option<String> {
    let request = connect::request(event.to_string().as_bytes()).expect("a request");
    assert_eq!(request.uri(), connect::PATH);
    assert!(request.headers().keys().all(|name| name == header::AUTHORIZATION));
    let connection = request.extensions().get::<NewConnection>().expect("a connection");
    assert_eq!((connection.id.as_str(), connection.connected_at), ("L0SM9cOFvHcCIhw=", 1_764_000_000_000));
    request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().expect("ASCII").to_owned())
}

#[test]
fn the_token_is_the_subprotocol_beside_the_protocol() {
    for (name, lines) in [
        ("Sec-WebSocket-Protocol", json!(["live.v1, bearer.a.b.c"])),
        ("sec-websocket-protocol", json!(["live.v1,bearer.a.b.c"])),
        ("SEC-WEBSOCKET-PROTOCOL", json!(["  bearer.a.b.c ,live.v1 "])),
        ("Sec-WebSocket-Protocol", json!(["live.v1", "bearer.a.b.c"])),
    ] {
        assert_eq!(authorization(&event(json!({ name: lines }))).as_deref(), Some("Bearer a.b.c"), "{name} {lines}");
    }
}

#[test]
fn handshakes_without_exactly_one_protocol_and_one_token_have_no_token() {
    for lines in [
        json!([]),
        json!(["live.v1"]),
        json!(["bearer.a.b.c"]),
        json!(["live.v2, bearer.a.b.c"]),
        json!(["live.v1, a.b.c"]),
        json!(["live.v1, Bearer.a.b.c"]),
        json!(["live.v1, bearer.a.b.c, bearer.a.b.c"]),
        json!(["live.v1, live.v1, bearer.a.b.c"]),
        json!(["live.v1, bearer.a.b.c, other"]),
        json!(["live.v1, bearer.a.b.c", "bearer.d.e.f"]),
        json!(["live.v1 bearer.a.b.c"]),
        json!(["live.v1, bearer.a\nb"]),
        json!("live.v1, bearer.a.b.c"),
        json!(null),
    ] {
        assert_eq!(authorization(&event(json!({ "Sec-WebSocket-Protocol": lines }))), None, "{lines}");
    }
    // In two spellings of the header.
    let headers = json!({ "Sec-WebSocket-Protocol": ["live.v1, bearer.a"], "sec-websocket-protocol": ["bearer.b"] });
    assert_eq!(authorization(&event(headers)), None);
}

#[test]
fn nothing_else_of_a_handshake_is_read() {
    let mut elsewhere = event(json!({ "Authorization": ["Bearer a.b.c"], "Cookie": ["__session=a.b.c"] }));
    elsewhere["headers"] =
        json!({ "Authorization": "Bearer a.b.c", "Sec-WebSocket-Protocol": "live.v1, bearer.a.b.c" });
    elsewhere["queryStringParameters"] = json!({ "token": "a.b.c", "access_token": "a.b.c" });
    assert_eq!(authorization(&elsewhere), None);
}

#[test]
fn only_the_opening_of_a_connection_is_a_request() {
    for kind in ["DISCONNECT", "MESSAGE", "", "connect"] {
        let mut event = event(json!({}));
        event["requestContext"]["eventType"] = kind.into();
        assert!(connect::request(event.to_string().as_bytes()).is_none(), "{kind}");
    }
    for member in ["eventType", "connectionId", "connectedAt"] {
        let mut event = event(json!({}));
        event["requestContext"][member] = Value::Null;
        assert!(connect::request(event.to_string().as_bytes()).is_none(), "{member}");
    }
}

proptest! {
    #[test]
    fn any_handshake_becomes_a_request(name in any::<String>(), lines in vec(any::<String>(), 0..3)) {
        authorization(&event(json!({ name: lines, "Sec-WebSocket-Protocol": lines })));
    }

    #[test]
    fn any_bytes_are_not_fatal(bytes in vec(any::<u8>(), 0..64)) {
        let _ = connect::request(&bytes);
    }
}
