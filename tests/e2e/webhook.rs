use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Response, User},
    events::line,
    stack::stack,
};

fn seconds_now() -> i64 {
    i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon")
}

/// The three headers that Svix sends, for a message signed at `timestamp`.
pub(crate) fn signed(id: &str, timestamp: i64, body: &str) -> [(&'static str, String); 3] {
    let signer = svix::webhooks::Webhook::new(&stack().webhook_secret()).expect("a secret");
    let signature = signer.sign(id, timestamp, body.as_bytes()).expect("UTF-8");
    [("svix-id", id.to_owned()), ("svix-timestamp", timestamp.to_string()), ("svix-signature", signature)]
}

async fn post(headers: &[(&'static str, String)], body: &str, content_type: &str) -> Response {
    let mut request =
        reqwest::Client::new().post(stack().webhook()).header("content-type", content_type).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    Response::to(request).await
}

async fn deliver(event: &Value) -> Response {
    let body = event.to_string();
    post(&signed("msg_1", seconds_now(), &body), &body, "application/json").await
}

fn user(id: &str, name: &str, updated_at: u64) -> Value {
    json!({
        "type": "user.updated", "object": "event", "timestamp": updated_at,
        "data": {
            "id": id, "object": "user", "first_name": name, "last_name": null, "image_url": "https://img.example/a",
            "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.com" }],
            "created_at": 1000, "updated_at": updated_at,
        },
    })
}

#[tokio::test]
async fn signed_events_are_applied_and_repeats_change_nothing() {
    let ada = User::sign_up("Ada");
    let later = u64::try_from(seconds_now()).expect("after 1970") * 1000 + 60_000;
    for _ in 0..2 {
        let answer = deliver(&user(&ada.id, "Augusta", later)).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({ "success": true })));
        assert_eq!(ada.get("/profile").await.body["firstName"], "Augusta");
    }
    assert_eq!(deliver(&user(&ada.id, "Old", 2000)).await.status, 200, "an older update is no error");
    assert_eq!(ada.get("/profile").await.body["firstName"], "Augusta");
}

#[tokio::test]
async fn base64_bodies_are_verified_as_sent() {
    let ada = User::sign_up("Ada");
    let later = u64::try_from(seconds_now()).expect("after 1970") * 1000 + 60_000;
    let body = user(&ada.id, "Grüße 👩‍🚀", later).to_string();
    // The function URL of the stack encodes bodies of other types than JSON and text.
    let answer = post(&signed("msg_1", seconds_now(), &body), &body, "application/octet-stream").await;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "success": true })));
    assert_eq!(ada.get("/profile").await.body["firstName"], "Grüße 👩‍🚀");
}

#[tokio::test]
async fn events_without_a_valid_signature_change_nothing() {
    let ada = User::sign_up("Ada");
    let before = ada.get("/profile").await.body;
    let later = u64::try_from(seconds_now()).expect("after 1970") * 1000 + 60_000;
    let body = user(&ada.id, "Eve", later).to_string();
    let good = signed("msg_1", seconds_now(), &body);

    let none = post(&[], &body, "application/json").await;
    none.is_problem(400, "webhook_headers_missing");
    let detail = none.body["detail"].as_str().expect("a sentence");
    assert!(["svix-id", "svix-timestamp", "svix-signature"].iter().all(|name| detail.contains(name)), "{detail}");

    let altered = body.replace("Eve", "Eva");
    post(&good, &altered, "application/json").await.is_problem(400, "webhook_bad_signature");
    let mut other_id = good.clone();
    other_id[0].1 = "msg_2".to_owned();
    post(&other_id, &body, "application/json").await.is_problem(400, "webhook_bad_signature");
    let stale = signed("msg_1", seconds_now() - 600, &body);
    post(&stale, &body, "application/json").await.is_problem(400, "webhook_stale");

    assert_eq!(ada.get("/profile").await.body, before);
}

#[tokio::test]
async fn ignored_and_invalid_events_are_accepted() {
    for event in [
        json!({ "type": "organization.created", "data": { "id": "org_1" } }),
        json!({ "type": "user.created", "data": { "id": 7 } }),
        json!({ "unknown": "member" }),
    ] {
        let answer = deliver(&event).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({ "success": true })), "{event}");
    }
}

#[test]
fn events_of_organizations_are_accepted() {
    let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
    let delivered = |arguments: &[&str], kinds: &[&str]| {
        let output = stack().run(arguments);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(kinds.iter().all(|kind| printed.contains(&format!("{kind} delivered"))), "{printed}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let create = ["organization", "create", "--name", "Acme", "--user", &ada.id];
    let organization = delivered(&create, &["organization.created", "organizationMembership.created"]);
    let add = ["organization", "add", "--id", &organization, "--user", &eve.id];
    delivered(&add, &["organizationMembership.created"]);
    // The user's deletion also ends the membership.
    delivered(&["user", "delete", "--id", &eve.id], &["organizationMembership.deleted", "user.deleted"]);
}

#[tokio::test]
async fn invalid_events_are_counted_for_the_alarm() {
    let answer = deliver(&json!({ "type": "user.deleted", "data": { "id": ["user_ada"] } })).await;
    assert_eq!(answer.status, 200);
    let line = line(|line| line["event"] == "invalid").await;
    assert_eq!((&line["outcome"], &line["Events"]), (&json!("invalid"), &json!(1)), "{line}");
    // The metric of the alarm.
    let monitoring = crate::stack::file("infra/monitoring.yaml");
    let alarm = monitoring.split_once("ClerkWebhookInvalidEvents:").expect("an alarm").1;
    let alarm = alarm.split_once("Threshold: 0").expect("a threshold").0;
    for dimension in ["function, Value: !Ref ClerkWebhookFunction", "event, Value: invalid", "outcome, Value: invalid"]
    {
        assert!(alarm.contains(&format!("{{ Name: {dimension} }}")), "{alarm}");
    }
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["function", "event", "outcome"]]), "{line}");
}

#[tokio::test]
async fn bans_take_effect_whatever_the_users_metadata() {
    for metadata in [format!("{}{}", "[".repeat(130), "]".repeat(130)), r#""\ud83d""#.to_owned()] {
        let ada = User::sign_up("Ada");
        let later = seconds_now() * 1000 + 60_000;
        let data = format!(r#"{{"id":"{}","banned":true,"updated_at":{later},"unsafe_metadata":{metadata}}}"#, ada.id);
        let body = format!(r#"{{"type":"user.updated","data":{data}}}"#);
        let answer = post(&signed("msg_1", seconds_now(), &body), &body, "application/json").await;
        assert_eq!(answer.status, 200);
        ada.get("/profile").await.is_problem(401, "account_inactive");
    }
}

#[tokio::test]
async fn reconciling_changes_nothing_if_no_event_was_missed() {
    let ada = User::sign_up("Ada");
    let before = ada.get("/profile").await.body;
    assert!(stack().local(&["reconcile"]).contains("failed: 0"));
    assert_eq!(ada.get("/profile").await.body, before);
}

#[tokio::test]
async fn updates_before_the_creation_and_after_the_deletion_are_accepted() {
    let ada = User::sign_up("Ada");
    let stranger = format!("user_{}", Uuid::now_v7().simple());
    assert_eq!(deliver(&user(&stranger, "first", 5000)).await.status, 200);

    let token = ada.token();
    stack().local(&["user", "delete", "--id", &ada.id]);
    let later = u64::try_from(seconds_now()).expect("after 1970") * 1000 + 60_000;
    assert_eq!(deliver(&user(&ada.id, "late", later)).await.status, 200);
    let request = crate::client::request(reqwest::Method::GET, "/profile").bearer_auth(token);
    Response::to(request).await.is_problem(401, "account_inactive");
}
