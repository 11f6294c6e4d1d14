//! Webhooks that are accepted, and the events in them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use clerk_auth::{Event, WebhookError, WebhookVerifier};
use http::HeaderMap;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the year 292 billion")
}

fn signature(timestamp: i64, body: &[u8]) -> String {
    svix::webhooks::Webhook::new(SECRET).expect("a secret").sign("msg_1", timestamp, body).expect("UTF-8")
}

fn headers(family: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let names = ["id", "timestamp", "signature"].map(|name| format!("{family}-{name}"));
    names
        .into_iter()
        .zip(["msg_1", timestamp, signature])
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

fn verifier(secrets: &str, instance_id: Option<&str>) -> WebhookVerifier {
    let var = |name: &str| match name {
        "CLERK_WEBHOOK_SIGNING_SECRET" => Some(secrets.to_owned()),
        "CLERK_INSTANCE_ID" => instance_id.map(str::to_owned),
        _ => None,
    };
    WebhookVerifier::from_env(var).expect("the settings are right")
}

fn verify(headers: &HeaderMap, body: &[u8]) -> Result<Event, WebhookError> {
    verifier(SECRET, None).verify(headers, body)
}

fn event(body: &Value) -> Event {
    event_of(&body.to_string())
}

/// The event in `body`, which a [`Value`] may be unable to hold.
fn event_of(body: &str) -> Event {
    let now = seconds_now();
    verify(&headers("svix", &now.to_string(), &signature(now, body.as_bytes())), body.as_bytes()).expect("signed")
}

#[test]
fn svix_and_standard_headers_and_any_valid_signature_are_accepted() {
    let now = seconds_now();
    let good = signature(now, b"{}");
    for family in ["svix", "webhook"] {
        for signatures in [good.clone(), format!("v1,AAAA {good}"), format!("v2,AAAA v1a,BBBB {good} v1,CCCC")] {
            let headers = headers(family, &now.to_string(), &signatures);
            assert!(verify(&headers, b"{}").is_ok(), "{family} {signatures}");
        }
    }
}

#[test]
fn missing_headers_are_named() {
    let now = seconds_now();
    let all = headers("svix", &now.to_string(), &signature(now, b"{}"));
    for missing in ["svix-id", "svix-timestamp", "svix-signature"] {
        let mut headers = all.clone();
        headers.remove(missing);
        assert_eq!(verify(&headers, b"{}").err(), Some(WebhookError::MissingHeaders(vec![missing])));
    }
    let none = verify(&HeaderMap::new(), b"{}").expect_err("rejected");
    assert_eq!(none.to_string(), "The request lacks the headers svix-id, svix-timestamp, svix-signature.");
}

#[test]
fn signature_covers_the_raw_body() {
    let now = seconds_now();
    let body = br#"{"type":"a",  "data":{}}"#;
    let headers = headers("svix", &now.to_string(), &signature(now, body));
    assert!(verify(&headers, body).is_ok());
    let same_json = br#"{"type":"a","data":{}}"#;
    assert_eq!(verify(&headers, same_json).err(), Some(WebhookError::BadSignature));
    assert_eq!(verify(&headers, b"\xff\xfe").err(), Some(WebhookError::BadSignature));
}

#[test]
fn timestamps_beyond_five_minutes_are_stale() {
    let now = seconds_now();
    for (age, fresh) in [(0, true), (290, true), (-290, true), (310, false), (-310, false)] {
        let headers = headers("svix", &(now - age).to_string(), &signature(now - age, b"{}"));
        let outcome = verify(&headers, b"{}");
        assert_eq!(outcome.is_ok(), fresh, "{age}");
        assert!(fresh || outcome.err() == Some(WebhookError::Stale));
    }
    for odd in [format!("{now}.5"), "today".to_owned(), String::new(), "-1".to_owned()] {
        let headers = headers("svix", &odd, &signature(now, b"{}"));
        assert_eq!(verify(&headers, b"{}").err(), Some(WebhookError::Stale), "{odd}");
    }
}

#[test]
fn email_is_the_primary_email_address() {
    let user = event(&json!({
        "type": "user.updated", "object": "event", "timestamp": 5,
        "data": {
            "id": "user_ada", "first_name": "Ada", "last_name": null, "image_url": "https://img.example/a",
            "primary_email_address_id": "idn_2",
            "email_addresses": [
                { "id": "idn_1", "email_address": "old@example.com" },
                { "id": "idn_2", "email_address": "ada@example.com" },
            ],
            "created_at": 1, "updated_at": 2, "a_member_to_come": {},
        },
    }));
    let Event::UserChanged(user) = user else { panic!("{user:?}") };
    assert_eq!(user.id(), "user_ada");
    assert_eq!(user.email(), Some("ada@example.com"));
    assert_eq!(user.first_name(), Some("Ada"));
    assert_eq!(user.last_name(), None);
    assert_eq!(user.image_url(), Some("https://img.example/a"));
    assert_eq!((user.created_at(), user.updated_at(), user.announced_at()), (1, 2, 5));
}

#[test]
fn no_email_without_a_primary_email_address() {
    for primary in [Value::Null, json!("idn_9")] {
        let user = event(&json!({
            "type": "user.created",
            "data": { "id": "user_ada", "primary_email_address_id": primary,
                      "email_addresses": [{ "id": "idn_1", "email_address": "other@example.com" }] },
        }));
        let Event::UserChanged(user) = user else { panic!("{user:?}") };
        assert_eq!(user.email(), None);
    }
}

#[test]
fn deletions_have_the_envelope_timestamp_and_other_types_are_ignored() {
    let deleted =
        event(&json!({ "type": "user.deleted", "timestamp": 7, "data": { "id": "user_ada", "deleted": true } }));
    let Event::UserDeleted(deleted) = deleted else { panic!("{deleted:?}") };
    assert_eq!((deleted.id(), deleted.at()), ("user_ada", 7));

    let other = event(&json!({ "type": "organization.created", "data": [] }));
    assert!(matches!(&other, Event::Ignored(kind) if kind == "organization.created"), "{other:?}");
}

#[test]
fn invalid_events_are_reported_without_their_content() {
    for body in [
        json!("hello secret"),
        json!({ "type": "user.created", "data": { "first_name": "secret" } }),
        json!({ "type": "user.created", "data": { "id": "", "first_name": "secret" } }),
        json!({ "type": "user.created", "data": { "id": { "secret": 1 } } }),
        json!({ "type": "user.deleted", "data": {} }),
    ] {
        let event = event(&body);
        let Event::Invalid(reason) = event else { panic!("{event:?}") };
        assert!(!reason.contains("secret"), "{reason}");
    }
}

#[test]
fn all_three_session_end_events_are_recognized() {
    for kind in ["session.ended", "session.removed", "session.revoked"] {
        let ended = event(&json!({
            "type": kind, "timestamp": 9,
            "data": { "id": "sess_1", "user_id": "user_ada", "client_id": "client_1", "status": "ended", "updated_at": 8 },
        }));
        let Event::SessionEnded(session) = ended else { panic!("{ended:?}") };
        assert_eq!((session.id(), session.user_id(), session.at()), ("sess_1", "user_ada", 8));
    }
    assert!(matches!(event(&json!({ "type": "session.created", "data": {} })), Event::Ignored(_)));
}

#[test]
fn published_test_vector_verifies_except_for_its_age() {
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let signature = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    assert_eq!(
        svix::webhooks::Webhook::new(SECRET)
            .expect("a secret")
            .sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body)
            .expect("UTF-8"),
        signature
    );
    assert_eq!(verify(&headers("svix", "1649367553", signature), body).err(), Some(WebhookError::Stale));
}

#[test]
fn two_secrets_are_accepted_during_rotation() {
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let now = seconds_now();
    let headers = headers("svix", &now.to_string(), &signature(now, b"{}"));
    for secrets in [format!("{SECRET} {other}"), format!("{other}\n{SECRET}\n")] {
        assert!(verifier(&secrets, None).verify(&headers, b"{}").is_ok(), "{secrets}");
    }
    assert_eq!(verifier(other, None).verify(&headers, b"{}").err(), Some(WebhookError::BadSignature));
}

#[test]
fn events_of_another_instance_are_invalid() {
    let now = seconds_now();
    let outcome = |instance_id: Value, configured: Option<&str>| {
        let body =
            json!({ "type": "user.created", "instance_id": instance_id, "data": { "id": "user_ada" } }).to_string();
        let headers = headers("svix", &now.to_string(), &signature(now, body.as_bytes()));
        verifier(SECRET, configured).verify(&headers, body.as_bytes()).expect("signed")
    };
    for (instance_id, configured, usable) in [
        (json!("ins_1"), Some("ins_1"), true),
        (json!("ins_2"), Some("ins_1"), false),
        (json!(null), Some("ins_1"), false),
        (json!("ins_2"), None, true),
        (json!(null), Some(""), true),
    ] {
        let event = outcome(instance_id.clone(), configured);
        assert_eq!(matches!(event, Event::UserChanged(_)), usable, "{instance_id} {configured:?}");
        assert_eq!(matches!(event, Event::Invalid(_)), !usable, "{instance_id} {configured:?}");
    }
}

#[test]
fn malformed_secrets_are_rejected() {
    for (secret, expected) in [
        ("", "is not set"),
        (" ", "is not set"),
        ("no secret!", "is not a signing secret"),
        // Base64 that svix accepts, but that anyone can guess.
        ("changeme", "is not a signing secret"),
        ("whsec_AAAA", "is not a signing secret"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "is not a signing secret"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw changeme", "is not a signing secret"),
    ] {
        let error = WebhookVerifier::from_env(|_| Some(secret.to_owned())).expect_err("rejected").to_string();
        assert!(error.starts_with("CLERK_WEBHOOK_SIGNING_SECRET") && error.contains(expected), "{error}");
    }
}

/// Valid JSON on which parsers that build values fail.
fn odd_values() -> Vec<String> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let mut values = vec![nested(130), nested(100_000), objects(130), objects(30_000)];
    values.extend(
        [
            r#""\ud83d""#,
            r#"{"\ud83d":"\ude00"}"#,
            r#""\ud83d\u0041""#,
            "1e400",
            "-1e400",
            "123456789012345678901234567890",
            r#"{"a":1,"a":2}"#,
            r#""\u0000""#,
            "null",
            "true",
            "-1",
            "[]",
            "{}",
            r#""text""#,
        ]
        .map(str::to_owned),
    );
    values
}

/// Whether the event bans or deletes `user_ada`, or ends her session `sess_1`.
fn takes_effect(event: &Event) -> bool {
    match event {
        Event::UserChanged(user) => user.id() == "user_ada" && user.banned(),
        Event::UserDeleted(user) => user.id() == "user_ada",
        Event::SessionEnded(session) => (session.id(), session.user_id()) == ("sess_1", "user_ada"),
        Event::Ignored(_) | Event::Invalid(_) => false,
    }
}

/// Each event's required members, and the members that may be unreadable.
const SECURITY_EVENTS: [(&str, &str, &[&str]); 3] = [
    (
        "user.updated",
        r#""id":"user_ada","banned":true"#,
        &[
            "unsafe_metadata",
            "first_name",
            "last_name",
            "image_url",
            "email_addresses",
            "primary_email_address_id",
            "created_at",
            "updated_at",
            "more",
        ],
    ),
    ("user.deleted", r#""id":"user_ada""#, &["deleted", "object", "slug", "external_id", "more"]),
    ("session.ended", r#""id":"sess_1","user_id":"user_ada""#, &["user", "status", "client_id", "updated_at", "more"]),
];

#[test]
fn security_events_ignore_other_members() {
    for (kind, needed, members) in SECURITY_EVENTS {
        for value in odd_values() {
            for member in members {
                for data in [format!(r#"{needed},"{member}":{value}"#), format!(r#""{member}":{value},{needed}"#)] {
                    let event = event_of(&format!(r#"{{"type":"{kind}","data":{{{data}}}}}"#));
                    assert!(takes_effect(&event), "{kind} {member} {value:.60}: {event:?}");
                }
            }
            for member in ["timestamp", "event_attributes", "object", "more", "instance_id", "\\ud800"] {
                let event = event_of(&format!(r#"{{"{member}":{value},"type":"{kind}","data":{{{needed}}}}}"#));
                assert!(takes_effect(&event), "{kind} {member} {value:.60}: {event:?}");
            }
        }
        let with_mark = event_of(&format!("\u{feff} {{\"data\":{{{needed}}},\"type\":\"{kind}\"}}\n"));
        assert!(takes_effect(&with_mark), "{kind}: {with_mark:?}");
    }
}

proptest! {
    #[test]
    fn security_events_ignore_arbitrary_members(
        (kind, needed, members) in select(&SECURITY_EVENTS[..]),
        odd in prop::collection::vec((any::<prop::sample::Index>(), select(odd_values()), any::<bool>()), 0..6),
    ) {
        let (mut data, mut after) = (Vec::new(), Vec::new());
        for (member, value, first) in odd {
            let member = format!(r#""{}":{value}"#, member.get(members));
            if first { data.push(member) } else { after.push(member) }
        }
        data.push(needed.to_owned());
        data.append(&mut after);
        let event = event_of(&format!(r#"{{"type":"{kind}","data":{{{}}}}}"#, data.join(",")));
        prop_assert!(takes_effect(&event), "{:?}", event);
    }
}

#[test]
fn invalid_times_fall_back_to_envelope_then_signature() {
    let in_an_hour = (seconds_now() + 3600) * 1000;
    let in_an_hour = in_an_hour.to_string();
    for unreadable in [
        "-1",
        "-1.5",
        "1e300",
        "18446744073709551616",
        "null",
        r#""5""#,
        "[5]",
        "0",
        "1e-300",
        "1795642518",
        "1.7e9",
        &in_an_hour,
    ] {
        for (kind, needed) in
            [("session.ended", r#""id":"sess_1","user_id":"user_ada""#), ("user.updated", r#""id":"user_ada""#)]
        {
            let at = |timestamp: &str| {
                let data = format!(r#"{{{needed},"updated_at":{unreadable}}}"#);
                let event = event_of(&format!(r#"{{"type":"{kind}","timestamp":{timestamp},"data":{data}}}"#));
                match event {
                    Event::SessionEnded(session) => session.at(),
                    Event::UserChanged(user) => user.updated_at(),
                    event => panic!("{unreadable}: {event:?}"),
                }
            };
            assert_eq!(at("7"), 7, "{kind} {unreadable}");
            let signed = u64::try_from(seconds_now()).expect("after 1970") * 1000;
            assert!(at(unreadable).abs_diff(signed) <= 5000, "{kind} {unreadable}");
        }
    }
    // The spelling of a number does not matter.
    for (written, read) in [
        ("1.7e12", 1_700_000_000_000),
        ("1700000000000.0", 1_700_000_000_000),
        ("8.9", 8),
        ("1750000000001", 1_750_000_000_001),
        ("1750000000001.5", 1_750_000_000_001),
    ] {
        let data = format!(r#"{{"id":"sess_1","user_id":"user_ada","updated_at":{written}}}"#);
        let event = event_of(&format!(r#"{{"type":"session.ended","timestamp":7,"data":{data}}}"#));
        assert!(matches!(&event, Event::SessionEnded(session) if session.at() == read), "{written}: {event:?}");
    }
}

#[test]
fn snapshots_have_the_envelope_timestamp() {
    let announced = |timestamp: Value| {
        let data = json!({ "id": "user_ada", "updated_at": 5 });
        let event = event(&json!({ "type": "user.updated", "timestamp": timestamp, "data": data }));
        let Event::UserChanged(user) = event else { panic!("{event:?}") };
        assert_eq!(user.updated_at(), 5);
        user.announced_at()
    };
    assert_eq!(announced(json!(9)), 9);
    assert_eq!(announced(json!("9")), 0, "every delivery of one event has the same time");
}

#[test]
fn ban_applies_unless_false_or_missing() {
    for (members, expected) in [
        (r#""banned":true"#, true),
        (r#""banned":"true""#, true),
        (r#""banned":1"#, true),
        (r#""banned":"\ud83d""#, true),
        (r#""banned":{}"#, true),
        (r#""banned":true,"banned":false"#, true),
        (r#""banned":false,"banned":true"#, true),
        (r#""banned":false"#, false),
        (r#""banned":null"#, false),
        (r#""locked":true"#, false),
    ] {
        let event = event_of(&format!(r#"{{"type":"user.updated","data":{{"id":"user_ada",{members}}}}}"#));
        let Event::UserChanged(user) = event else { panic!("{event:?}") };
        assert_eq!(user.banned(), expected, "{members}");
    }
}

#[test]
fn session_user_is_read_from_either_member() {
    for (members, expected) in [
        (r#""user_id":"user_ada""#, true),
        (r#""user":{"id":"user_ada"}"#, true),
        (r#""user_id":null,"user":{"id":"user_ada"}"#, true),
        (r#""user_id":"","user":{"id":"user_ada"}"#, true),
        (r#""user_id":7,"user":{"id":"user_ada"}"#, true),
        (r#""user_id":"user_ada","user":{"id":"user_ada","unsafe_metadata":{"a":"\ud83d"}}"#, true),
        (r#""user_id":"user_ada","user":null"#, true),
        (r#""user_id":"user_ada","user_id":"user_ada""#, true),
        (r#""user_id":"user_ada","user":{"id":"user_eve"}"#, false),
        (r#""user_id":"user_ada","user_id":"user_eve""#, false),
        (r#""user_id":"user_eve","user_id":"user_ada","user":{"id":"user_ada"}"#, false),
        (r#""user":{"id":"user_eve"},"user":{"id":"user_ada"}"#, false),
        (r#""user":{"id":"\ud83d"}"#, false),
        (r#""user_id":null"#, false),
    ] {
        let event = event_of(&format!(r#"{{"type":"session.ended","data":{{"id":"sess_1",{members}}}}}"#));
        assert_eq!(takes_effect(&event), expected, "{members}: {event:?}");
        assert!(expected || matches!(event, Event::Invalid(_)), "{members}: {event:?}");
    }
}

#[test]
fn events_with_ambiguous_type_or_subject_are_invalid() {
    let too_long = format!(r#"{{"type":"user.deleted","data":{{"id":"{}"}}}}"#, "u".repeat(257));
    for body in [
        r#"{"type":"user.deleted","type":"user.updated","data":{"id":"user_ada"}}"#,
        r#"{"type":["user.deleted"],"data":{"id":"user_ada"}}"#,
        r#"{"type":null,"data":{"id":"user_ada"}}"#,
        r#"{"data":{"id":"user_ada"}}"#,
        r#"{"type":"user.deleted"}"#,
        r#"{"type":"user.deleted","data":[]}"#,
        r#"{"type":"user.deleted","data":{"id":"user_ada","id":"user_eve"}}"#,
        r#"{"type":"user.deleted","data":{"id":"user_ada"},"data":{"id":"user_eve"}}"#,
        r#"{"type":"user.deleted","data":{"id":"user_\ud83d"}}"#,
        r#"{"type":"session.ended","data":{"user_id":"user_ada"}}"#,
        r#"{"type":"session.ended","data":{"id":"","user_id":"user_ada"}}"#,
        r#"{"type":"user.deleted","data":{"id":"user_ada"}} more"#,
        r#"{"type":"user.deleted","data":{"id":"user_ada"}"#,
        r#"[{"type":"user.deleted","data":{"id":"user_ada"}}]"#,
        "",
        &too_long,
    ] {
        let event = event_of(body);
        assert!(matches!(event, Event::Invalid(_)), "{body:.80}: {event:?}");
    }
    // Equal duplicates are not ambiguous.
    let event = event_of(r#"{"type":"user.deleted","type":"user.deleted","data":{"id":"user_ada","id":"user_ada"}}"#);
    assert!(takes_effect(&event), "{event:?}");
}

#[test]
fn invalid_details_are_dropped_and_blank_ones_are_missing() {
    let details = |members: &str| {
        let event = event_of(&format!(r#"{{"type":"user.updated","data":{{"id":"user_ada",{members}}}}}"#));
        let Event::UserChanged(user) = event else { panic!("{event:?}") };
        [user.email(), user.first_name(), user.last_name(), user.image_url()].map(|detail| detail.map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let address = r#""primary_email_address_id":"idn_1","email_addresses""#;
    let good = r#"{"id":"idn_1","email_address":" ada@example.com ","verification":{"a":"\ud83d"}}"#;
    for odd in ["\"\\ud83d\"", "7", "[]", "\"\"", "\" \\t\""] {
        let names =
            format!(r#""first_name":{odd},"last_name":" Lovelace ","image_url":{odd},{address}:[{odd},{good}]"#);
        assert_eq!(details(&names), [some("ada@example.com"), None, some("Lovelace"), None], "{odd}");
        assert_eq!(details(&format!("{address}:{odd}")), [None, None, None, None], "{odd}");
    }
}

/// Svix signs text, so a body that is not UTF-8 is not one of its events.
#[test]
fn bodies_that_are_not_utf_8_are_not_signed() {
    let now = seconds_now();
    let body = b"{\"type\":\"user.deleted\",\"data\":{\"id\":\"user_ada\",\"slug\":\"\xff\"}}";
    let headers = headers("svix", &now.to_string(), &signature(now, b"{}"));
    assert_eq!(verify(&headers, body).err(), Some(WebhookError::BadSignature));
}

#[test]
fn unmatchable_instance_id_is_rejected() {
    let outcome = |id: &str| {
        WebhookVerifier::from_env(|name| Some(if name == "CLERK_INSTANCE_ID" { id } else { SECRET }.to_owned())).err()
    };
    for id in ["app_1", "https://clerk.example.com", "INS_1"] {
        let error = outcome(id).expect("rejected").to_string();
        assert!(error.starts_with("CLERK_INSTANCE_ID is not"), "{error}");
    }
    for id in ["ins_1", " ins_1\n", " "] {
        assert!(outcome(id).is_none(), "{id:?}");
    }
}
