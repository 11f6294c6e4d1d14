//! Events of any content and size become requests without a panic.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails where something is missing")]

use api::{Problem, events};
use lambda_http::Request;
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

/// Lengths around the limits of this crate, of a `Uri`, and of a `HeaderMap`.
fn length() -> impl Strategy<Value = usize> {
    let around = |limit: usize| limit - 2..limit + 3;
    prop_oneof![4 => 0..40_usize, 1 => around(1 << 14), 1 => around(65_534 / 3), 1 => around(1 << 15), 1 => around(65_534)]
}

fn text() -> impl Strategy<Value = String> {
    let character =
        prop::sample::select(vec!["a", "/", "%", "%ff", "?", "#", "ü", "\0", "\"", "\\", "[", "\u{10ffff}"]);
    prop_oneof![any::<String>(), (character, length()).prop_map(|(character, length)| character.repeat(length))]
}

fn headers() -> impl Strategy<Value = Map<String, Value>> {
    let count = prop_oneof![8 => 0..4_usize, 1 => 24_570..24_580_usize, 1 => 32_760..32_780_usize];
    (count, "[a-zA-Z :\u{0}é-]{0,3}", text()).prop_map(|(count, name, value)| {
        let few = if count < 4 { value } else { String::new() };
        (0..count).map(|number| (format!("{name}{number}"), json!(few))).collect()
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(text(), inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

fn event() -> impl Strategy<Value = Value> {
    let method = prop_oneof![4 => Just("GET".to_owned()), 1 => text()];
    let parts = (method, text(), text(), headers(), vec(text(), 0..3), text(), any::<bool>(), text());
    parts.prop_map(|(method, path, query, headers, cookies, body, base64, stage)| {
        json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers, "cookies": cookies,
            "body": body, "isBase64Encoded": base64, "stageVariables": { "a": stage },
            "requestContext": { "domainName": stage, "stage": stage, "http": { "method": method, "path": path } },
        })
    })
}

const MEMBERS: [&str; 9] = [
    "/rawPath",
    "/rawQueryString",
    "/headers",
    "/cookies",
    "/body",
    "/isBase64Encoded",
    "/requestContext",
    "/requestContext/http",
    "/requestContext/http/method",
];

/// The request that `lambda_http` makes of an event, and the problem of an event that cannot be served.
fn request(event: &[u8]) -> Result<(Request, Option<Problem>), events::InvalidEvent> {
    events::request(event).map(|(request, problem)| (request.into(), problem))
}

proptest! {
    #[test]
    fn any_event_becomes_a_request_or_is_rejected(event in event()) {
        let event = event.to_string();
        let (request, _) = request(event.as_bytes()).expect("it is an HTTP request");
        prop_assert!(request.uri().path().starts_with('/'));
    }

    #[test]
    fn a_member_of_another_type_is_not_fatal(
        event in event(), member in prop::sample::select(&MEMBERS[..]), value in json_value(),
    ) {
        let mut event = event;
        *event.pointer_mut(member).unwrap() = value;
        let _ = request(event.to_string().as_bytes());
    }

    #[test]
    fn a_changed_byte_is_not_fatal(event in event(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut event = event.to_string().into_bytes();
        *place.get_mut(&mut event) = byte;
        let is_rejected = request(&event).is_ok_and(|(_, problem)| problem.is_some());
        prop_assert!(is_rejected || str::from_utf8(&event).is_ok());
    }

    #[test]
    fn any_bytes_are_not_fatal(bytes in vec(any::<u8>(), 0..64)) {
        let _ = request(&bytes);
    }
}
