//! Any signed body becomes an event without a panic, and without a matching signature it is rejected. A ban takes effect
//! whatever JSON is beside it.

#![no_main]

use std::time::UNIX_EPOCH;

use clerk_auth::{Event, WebhookVerifier};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use svix::webhooks::Webhook;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fuzz_target!(|bytes: &[u8]| {
    let verifier = WebhookVerifier::from_env(|name| (name != "CLERK_INSTANCE_ID").then(|| SECRET.to_owned())).unwrap();
    let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("svix-id", HeaderValue::from_static("msg_1"));
    headers.insert("svix-timestamp", now.into());

    // The body as it is, under a signature that is signed for it.
    if let Ok(signature) = Webhook::new(SECRET).unwrap().sign("msg_1", now, bytes) {
        headers.insert("svix-signature", signature.parse().unwrap());
        assert!(verifier.verify(&headers, bytes).is_ok());
    }
    // The body as a member that is not read.
    if let Ok(text) = str::from_utf8(bytes)
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        for kind in ["user.updated", "session.ended"] {
            let data =
                format!(r#""unsafe_metadata":{text},"id":"ada","user_id":"ada","banned":true,"updated_at":{text}"#);
            let body = format!(r#"{{"timestamp":{text},"type":"{kind}","data":{{{data}}},"more":{text}}}"#);
            let signature = Webhook::new(SECRET).unwrap().sign("msg_1", now, body.as_bytes()).unwrap();
            headers.insert("svix-signature", signature.parse().unwrap());
            match verifier.verify(&headers, body.as_bytes()).unwrap() {
                Event::UserChanged(user) => assert!(user.id() == "ada" && user.banned()),
                Event::SessionEnded(session) => assert_eq!((session.id(), session.user_id()), ("ada", "ada")),
                event => panic!("{event:?}"),
            }
        }
    }
    // The body as a signature of another.
    if let Ok(signature) = HeaderValue::from_bytes(bytes) {
        headers.insert("svix-signature", signature);
        assert!(verifier.verify(&headers, b"{}").is_err());
    }
});
