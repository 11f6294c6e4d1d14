//! `template.yaml` deployed with the SAM CLI onto an emulated AWS, and used there.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod aws;
mod stack;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    time::UNIX_EPOCH,
};

use aws_sdk_dynamodb::types::{AttributeValue, KeyType, PointInTimeRecoveryStatus, TimeToLiveStatus};
use serde_json::{Value, json};

use aws::Aws;
use stack::Stack;

fn seconds_now() -> u64 {
    UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

fn signing_secret(byte: char) -> String {
    // Base64 of 24 bytes.
    format!("whsec_{}", byte.to_string().repeat(32))
}

fn user_event(id: &str, name: &str) -> Value {
    let now = seconds_now() * 1000;
    json!({
        "type": "user.updated", "object": "event", "timestamp": now, "instance_id": stack::INSTANCE,
        "data": {
            "id": id, "object": "user", "first_name": name, "last_name": null, "image_url": "https://img.example/a",
            "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "email_address": format!("{id}@example.com") }],
            "created_at": now, "updated_at": now,
        },
    })
}

/// One test, since one deployment follows the other: a stack is made, used, updated over its data, and deleted.
#[tokio::test]
async fn what_is_deployed_works_and_keeps_its_data_through_an_update_and_after_its_end() {
    let aws = Aws::start().await;
    let build = aws.built();
    let template = build.join("template.yaml");
    let mut stack = Stack::deploy(&aws, &template, &[]);

    // Clerk gives its secret out only once the URL is there; what it sends before that has to come again.
    let (old, new) = (signing_secret('A'), signing_secret('B'));
    assert_eq!(stack.deliver(&old, &user_event("user_ada", "Ada")).await, 500);
    stack.put_secret(&old).await;
    stack.deliver_until_taken(&old, &user_event("user_ada", "Ada")).await;
    assert_eq!(stack.deliver(&new, &user_event("user_ada", "Eve")).await, 400, "signed with another secret");

    let ada = stack.sign_in("user_ada", "sess_1");
    assert_eq!(stack.call(None, "GET", "/chats", None).await.body["code"], "token_missing");
    assert_eq!(stack.call(Some(&ada), "GET", "/profile", None).await.body["firstName"], "Ada");
    let created = stack.call(Some(&ada), "POST", "/chats", Some(json!({ "title": "Plans" }))).await;
    assert_eq!(created.status, 201, "{created:?}");
    let chat = format!("/chats/{}", created.body["id"].as_str().expect("an id"));
    assert_eq!(stack.call(Some(&ada), "GET", "/chats", None).await.body["chats"], json!([created.body]));
    assert_eq!(stack.call(Some(&ada), "GET", "/elsewhere", None).await.body["code"], "route_not_found");

    let eve = stack.sign_in("user_eve", "sess_2");
    assert_eq!(stack.call(Some(&eve), "GET", "/chats", None).await.body["chats"], json!([]));
    assert_eq!(stack.call(Some(&eve), "GET", &chat, None).await.status, 404);
    assert_eq!(stack.call(Some(&eve), "DELETE", &chat, None).await.status, 404);

    let ended = json!({
        "type": "session.ended", "object": "event", "timestamp": seconds_now() * 1000, "instance_id": stack::INSTANCE,
        "data": { "id": "sess_1", "object": "session", "user_id": "user_ada", "status": "ended" },
    });
    assert_eq!(stack.deliver(&old, &ended).await, 200);
    for path in ["/chats", "/profile"] {
        assert_eq!(stack.call(Some(&ada), "GET", path, None).await.body["code"], "session_ended");
    }

    the_tables_are_the_templates(&stack).await;
    let before = stack.items().await;
    assert_eq!(before.len(), 3, "a chat, a profile, an ended session: {before:?}");
    let versions = stack.versions().await;
    assert_eq!(versions, ["1", "1", "1"]);

    // An update of one function's code, and of a parameter that one other function reads as well.
    stack.put_secret(&new).await;
    let changed = build.join("ChatsFunction/bootstrap");
    // The system runs a program with something after its end as it runs it without.
    OpenOptions::new().append(true).open(changed).and_then(|mut file| file.write_all(b"changed")).expect("writable");
    stack.update(&template, &["ClerkMaxTokenLifetime=60"]);
    assert_eq!(stack.versions().await, ["2", "2", "1"], "what changed is published, and nothing else");
    assert_eq!(stack.items().await, before, "nothing is lost");
    let ada = stack.sign_in("user_ada", "sess_3");
    assert_eq!(stack.call(Some(&ada), "GET", "/chats", None).await.body["chats"], json!([created.body]));
    // The running function finds the new secret by itself, and still takes the old one.
    stack.deliver_until_taken(&new, &user_event("user_ada", "Augusta")).await;
    assert_eq!(stack.deliver(&old, &user_event("user_ada", "Augusta")).await, 200);
    assert_eq!(stack.call(Some(&ada), "GET", "/profile", None).await.body["firstName"], "Augusta");

    // The operators' commands find the tables by the stack's name.
    let export = aws.file("ada.json");
    let path = export.to_str().expect("a path in UTF-8");
    aws.operate(&["--stack", stack::NAME, "export", "--user", "user_ada", "--output", path]);
    let export: Value = serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON");
    assert_eq!((&export["profile"]["firstName"], &export["chats"][0]["id"]), (&json!("Augusta"), &created.body["id"]));
    let deleted = json!({
        "type": "user.deleted", "object": "event", "timestamp": (seconds_now() - 600) * 1000, "instance_id": stack::INSTANCE,
        "data": { "id": "user_ada", "object": "user", "deleted": true },
    });
    assert_eq!(stack.deliver(&new, &deleted).await, 200);
    // An erasure waits for two minutes from the receipt of the deletion, which is put ten minutes back here.
    let received = AttributeValue::N(((seconds_now() - 600) * 1000).to_string());
    let update = aws.dynamodb().update_item().table_name(stack.table("UsersTable"));
    let update = update.key("userId", AttributeValue::S("user_ada".to_owned()));
    let update = update.update_expression("SET deletionReceivedAt = :at").expression_attribute_values(":at", received);
    update.send().await.expect("it is written");
    let said = aws.operate(&["--stack", stack::NAME, "erase", "--user", "user_ada"]);
    assert!(said.starts_with("1 people erased, with 2 chats and ended sessions"), "{said}");

    let left = stack.items().await;
    assert_eq!(left.len(), 1, "a tombstone: {left:?}");
    stack.delete().await;
    assert_eq!(stack.items().await, left, "the tables outlive the stack");
    fs::remove_dir_all(build).expect("writable");
}

async fn the_tables_are_the_templates(stack: &Stack<'_>) {
    let dynamodb = stack.aws.dynamodb();
    for (table, keys, expires) in [
        ("ChatsTable", ["userId", "chatId"].as_slice(), Some("expiresAt")),
        ("UsersTable", ["userId"].as_slice(), None),
        ("SessionsTable", ["userId", "sessionId"].as_slice(), Some("expiresAt")),
    ] {
        let name = stack.table(table);
        let described = dynamodb.describe_table().table_name(name).send().await.expect("described").table.expect("it");
        let schema: Vec<_> = described.key_schema().iter().map(|key| (key.attribute_name(), key.key_type())).collect();
        let expected: Vec<_> = keys.iter().copied().zip([&KeyType::Hash, &KeyType::Range]).collect();
        assert_eq!(schema, expected, "{table}");
        assert_eq!(described.deletion_protection_enabled(), Some(true), "{table}");

        let backups = dynamodb.describe_continuous_backups().table_name(name).send().await.expect("described");
        let backups = backups.continuous_backups_description.expect("it").point_in_time_recovery_description;
        let status = backups.expect("it").point_in_time_recovery_status;
        assert_eq!(status, Some(PointInTimeRecoveryStatus::Enabled), "{table}");

        let expiry = dynamodb.describe_time_to_live().table_name(name).send().await.expect("described");
        let expiry = expiry.time_to_live_description.expect("it");
        let status = if expires.is_some() { TimeToLiveStatus::Enabled } else { TimeToLiveStatus::Disabled };
        assert_eq!((expiry.time_to_live_status(), expiry.attribute_name()), (Some(&status), expires), "{table}");
    }
    let owners = stack.items().await.into_iter().map(|item| item["userId"].clone());
    assert!(
        owners.into_iter().all(|owner| owner == AttributeValue::S("user_ada".to_owned())),
        "eve has written nothing"
    );
}
