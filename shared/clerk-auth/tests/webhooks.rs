//! What is believed of a webhook, and what is read from it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use clerk_auth::{Event, WebhookError, WebhookVerifier};
use http::HeaderMap;
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
    let body = body.to_string();
    let now = seconds_now();
    verify(&headers("svix", &now.to_string(), &signature(now, body.as_bytes())), body.as_bytes()).expect("signed")
}

#[test]
fn both_families_of_headers_and_any_of_several_signatures_are_taken() {
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
    let none = verify(&HeaderMap::new(), b"{}").expect_err("refused");
    assert_eq!(none.to_string(), "The request lacks the headers svix-id, svix-timestamp, svix-signature.");
}

#[test]
fn the_raw_body_is_what_is_signed() {
    let now = seconds_now();
    let body = br#"{"type":"a",  "data":{}}"#;
    let headers = headers("svix", &now.to_string(), &signature(now, body));
    assert!(verify(&headers, body).is_ok());
    let same_json = br#"{"type":"a","data":{}}"#;
    assert_eq!(verify(&headers, same_json).err(), Some(WebhookError::BadSignature));
    assert_eq!(verify(&headers, b"\xff\xfe").err(), Some(WebhookError::BadSignature));
}

#[test]
fn timestamps_are_at_most_five_minutes_away() {
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
fn the_address_is_the_primary_one() {
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
fn without_a_primary_address_there_is_none() {
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
fn deletions_are_dated_by_the_envelope_and_other_types_are_let_be() {
    let deleted =
        event(&json!({ "type": "user.deleted", "timestamp": 7, "data": { "id": "user_ada", "deleted": true } }));
    let Event::UserDeleted(deleted) = deleted else { panic!("{deleted:?}") };
    assert_eq!((deleted.id(), deleted.at()), ("user_ada", 7));

    let other = event(&json!({ "type": "organization.created", "data": [] }));
    assert!(matches!(&other, Event::Other(kind) if kind == "organization.created"), "{other:?}");
}

#[test]
fn a_signed_event_that_makes_no_sense_is_said_to_be_unusable_without_its_content() {
    for body in [
        json!("hello secret"),
        json!({ "type": "user.created", "data": { "first_name": "secret" } }),
        json!({ "type": "user.created", "data": { "id": "", "first_name": "secret" } }),
        json!({ "type": "user.created", "data": { "id": { "secret": 1 } } }),
        json!({ "type": "user.deleted", "data": {} }),
    ] {
        let event = event(&body);
        let Event::Unusable(reason) = event else { panic!("{event:?}") };
        assert!(!reason.contains("secret"), "{reason}");
    }
}

#[test]
fn sessions_end_in_three_ways() {
    for kind in ["session.ended", "session.removed", "session.revoked"] {
        let ended = event(&json!({
            "type": kind, "timestamp": 9,
            "data": { "id": "sess_1", "user_id": "user_ada", "client_id": "client_1", "status": "ended", "updated_at": 8 },
        }));
        let Event::SessionEnded(session) = ended else { panic!("{ended:?}") };
        assert_eq!((session.id(), session.user_id(), session.at()), ("sess_1", "user_ada", 8));
    }
    assert!(matches!(event(&json!({ "type": "session.created", "data": {} })), Event::Other(_)));
}

#[test]
fn the_published_vector_verifies_but_for_its_age() {
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
fn two_secrets_count_while_one_takes_over_from_the_other() {
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let now = seconds_now();
    let headers = headers("svix", &now.to_string(), &signature(now, b"{}"));
    for secrets in [format!("{SECRET} {other}"), format!("{other}\n{SECRET}\n")] {
        assert!(verifier(&secrets, None).verify(&headers, b"{}").is_ok(), "{secrets}");
    }
    assert_eq!(verifier(other, None).verify(&headers, b"{}").err(), Some(WebhookError::BadSignature));
}

#[test]
fn another_instances_events_are_of_no_use_where_one_is_configured() {
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
        assert_eq!(matches!(event, Event::Unusable(_)), !usable, "{instance_id} {configured:?}");
    }
}

#[test]
fn a_secret_that_is_none_is_named() {
    for (secret, expected) in [("", "is not set"), (" ", "is not set"), ("no secret!", "is not a signing secret")] {
        let error = WebhookVerifier::from_env(|_| Some(secret.to_owned())).expect_err("refused").to_string();
        assert!(error.starts_with("CLERK_WEBHOOK_SIGNING_SECRET") && error.contains(expected), "{error}");
    }
}
