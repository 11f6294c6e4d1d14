//! `template.yaml` deployed with the SAM CLI onto an emulated AWS, and used there.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod aws;
mod builds;
mod deployments;
mod doctor;
mod recovery;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../e2e/sample.rs"]
mod sample;
#[path = "../e2e/socket.rs"]
mod socket;
mod stack;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    time::UNIX_EPOCH,
};

use api::Operation;
use aws_sdk_dynamodb::types::{AttributeValue, PointInTimeRecoveryStatus, StreamViewType, TimeToLiveStatus};
use local::template::Template;
use serde_json::{Value, json};

use aws::Aws;
use sample::{Sample, contains, items};
use socket::{Socket, change};
use stack::{CONNECTIONS_TABLE, Stack};

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

/// One test, since the deployments follow each other: a stack is created, used, updated with data in it, and deleted.
#[tokio::test]
async fn what_is_deployed_works_and_keeps_its_data_through_an_update_and_after_its_end() {
    let aws = Aws::start("use").await;
    let build = aws.built();
    let template = build.join("template.yaml");
    let mut stack = Stack::deploy(&aws, &template, &[]).await;

    // Clerk shows its secret only once the URL exists. Events that it sends before that must be retried.
    let (old, new) = (signing_secret('A'), signing_secret('B'));
    assert_eq!(stack.deliver(&old, &user_event("user_ada", "Ada")).await, 500);
    stack.put_secret(&old).await;
    stack.deliver_until_taken(&old, &user_event("user_ada", "Ada")).await;
    assert_eq!(stack.deliver(&new, &user_event("user_ada", "Eve")).await, 400, "signed with another secret");

    let ada = stack.sign_in("user_ada", "sess_1");
    let eve = stack.sign_in("user_eve", "sess_2");
    assert_eq!(stack.call(None, "GET", "/profile", None).await.body["code"], "token_missing");
    assert_eq!(stack.call(Some(&ada), "GET", "/profile", None).await.body["firstName"], "Ada");
    assert_eq!(stack.call(Some(&ada), "GET", "/elsewhere", None).await.body["code"], "route_not_found");
    let live = stack.live();
    let token_in_query = format!("{live}?token={ada}");
    assert!(Socket::connect(&token_in_query, &[("sec-websocket-protocol", "live.v1".to_owned())]).await.is_err());
    let mut socket = Socket::with_token(&live, &ada).await.expect("it opens");
    let mut created = Vec::new();
    for sample in Sample::with(&[Operation::Create, Operation::Get, Operation::List]) {
        let path = &sample.path;
        assert_eq!(stack.call(None, "GET", path, None).await.body["code"], "token_missing");
        let answer = stack.call(Some(&ada), "POST", path, Some(sample.create.clone())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(contains(&answer.body, &sample.create), "{answer:?}");
        socket.receives(&change(&sample, &answer.body["id"], &answer.body["version"])).await;
        let item = sample.item(answer.body["id"].as_str().expect("an id"));
        assert_eq!(stack.call(Some(&ada), "GET", &item, None).await.body, answer.body);
        assert_eq!(items(&stack.call(Some(&ada), "GET", path, None).await.body), std::slice::from_ref(&answer.body));

        assert_eq!(items(&stack.call(Some(&eve), "GET", path, None).await.body), &[] as &[Value]);
        assert_eq!(stack.call(Some(&eve), "GET", &item, None).await.status, 404);
        if sample.has(Operation::Delete) {
            assert_eq!(stack.call(Some(&eve), "DELETE", &item, None).await.status, 404);
        }
        created.push((sample, answer.body));
    }

    let ended = json!({
        "type": "session.ended", "object": "event", "timestamp": seconds_now() * 1000, "instance_id": stack::INSTANCE,
        "data": { "id": "sess_1", "object": "session", "user_id": "user_ada", "status": "ended" },
    });
    assert_eq!(stack.deliver(&old, &ended).await, 200);
    socket.closes().await;
    assert!(Socket::with_token(&live, &ada).await.is_err(), "its session has ended");
    for path in created.iter().map(|(sample, _)| sample.path.as_str()).chain(["/profile"]) {
        assert_eq!(stack.call(Some(&ada), "GET", path, None).await.body["code"], "session_ended");
    }

    the_tables_are_the_templates(&stack).await;
    let before = stack.items().await;
    assert_eq!(before.len(), created.len() + 2, "an item of each resource, a profile, an ended session: {before:?}");
    let mut versions = stack.versions().await;
    assert!(versions.len() > created.len() + 1 && versions.values().all(|version| version == "1"), "{versions:?}");

    // An update of one function's code, and of a parameter that one other function reads.
    stack.put_secret(&new).await;
    let changed = build.join("ProfileFunction/bootstrap");
    // The system runs a program with something after its end as it runs it without.
    OpenOptions::new().append(true).open(changed).and_then(|mut file| file.write_all(b"changed")).expect("writable");
    stack.update(&template, &[&format!("ClerkInstanceId={}", stack::INSTANCE), "EraseAfterDays=0"]).await;
    for function in ["ProfileFunction", "ClerkWebhookFunction", "ScheduledErasureFunction"] {
        versions.insert(function.to_owned(), "2".to_owned());
    }
    assert_eq!(stack.versions().await, versions, "what changed is published, and nothing else");
    assert_eq!(stack.items().await, before, "nothing is lost");
    let ada = stack.sign_in("user_ada", "sess_3");
    for (sample, item) in &created {
        assert_eq!(items(&stack.call(Some(&ada), "GET", &sample.path, None).await.body), std::slice::from_ref(item));
    }
    // The running function reads the new secret, and still accepts the old one.
    stack.deliver_until_taken(&new, &user_event("user_ada", "Augusta")).await;
    assert_eq!(stack.deliver(&old, &user_event("user_ada", "Augusta")).await, 200);
    assert_eq!(stack.call(Some(&ada), "GET", "/profile", None).await.body["firstName"], "Augusta");

    // The operators' commands find the tables by the stack's name.
    let export = aws.file("ada.json");
    let path = export.to_str().expect("a path in UTF-8");
    aws.operate(&["--stack", stack::NAME, "export", "--user", "user_ada", "--output", path]);
    let export: Value = serde_json::from_slice(&fs::read(path).expect("it is there")).expect("JSON");
    assert_eq!(export["profile"]["firstName"], "Augusta");
    for (sample, item) in &created {
        let lists = export.as_object().expect("an object").values().filter_map(Value::as_array);
        assert!(lists.flatten().any(|exported| contains(exported, &sample.create) && exported["id"] == item["id"]));
    }
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
    let erasure = format!("{}-scheduled-erasure", stack::NAME);
    for (users, items) in [(1, created.len() + 1), (0, 0)] {
        aws.invoke(&erasure, &json!({})).await;
        let line = aws.logged(|line| line["message"] == "job" && line["users"] == users);
        assert_eq!((&line["items"], &line["Successes"], &line["level"]), (&json!(items), &json!(1), &json!("INFO")));
    }

    let left = stack.items().await;
    assert_eq!(left.len(), 1, "a tombstone: {left:?}");
    stack.delete().await;
    assert_eq!(stack.items().await, left, "the tables outlive the stack");
    fs::remove_dir_all(build).expect("writable");
}

async fn the_tables_are_the_templates(stack: &Stack<'_>) {
    let dynamodb = stack.aws.dynamodb();
    let template = Template::load().expect("the template is right");
    for table in &template.tables {
        let (id, name) = (&table.name, stack.table(&table.name));
        let described = dynamodb.describe_table().table_name(name).send().await.expect("described").table.expect("it");
        let schema = described
            .key_schema()
            .iter()
            .map(|key| json!({ "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str() }));
        assert_eq!(schema.collect::<Value>(), table.create["KeySchema"], "{id}");
        let indexes = described.local_secondary_indexes().iter().map(|index| index.index_name().expect("a name"));
        let declared = table.create["LocalSecondaryIndexes"].as_array().into_iter().flatten();
        let declared = declared.map(|index| index["IndexName"].as_str().expect("a name"));
        assert_eq!(indexes.collect::<Vec<_>>(), declared.collect::<Vec<_>>(), "{id}");
        let streamed = described.stream_specification().and_then(|stream| stream.stream_view_type());
        assert_eq!(streamed.map(StreamViewType::as_str), table.stream_view_type.as_deref(), "{id}");
        let is_retained = template.resources[id].properties.get("DeletionProtectionEnabled").is_some();
        assert_eq!(is_retained, id != CONNECTIONS_TABLE, "{id}");
        assert_eq!(described.deletion_protection_enabled(), Some(is_retained), "{id}");

        let backups = dynamodb.describe_continuous_backups().table_name(name).send().await.expect("described");
        let backups = backups.continuous_backups_description.expect("it").point_in_time_recovery_description;
        let status = backups.expect("it").point_in_time_recovery_status;
        let expected =
            if is_retained { PointInTimeRecoveryStatus::Enabled } else { PointInTimeRecoveryStatus::Disabled };
        assert_eq!(status, Some(expected), "{id}");

        let expiry = dynamodb.describe_time_to_live().table_name(name).send().await.expect("described");
        let expiry = expiry.time_to_live_description.expect("it");
        let expires = table.ttl_attribute.as_deref();
        let status = if expires.is_some() { TimeToLiveStatus::Enabled } else { TimeToLiveStatus::Disabled };
        assert_eq!((expiry.time_to_live_status(), expiry.attribute_name()), (Some(&status), expires), "{id}");
    }
    let owners = stack.items().await.into_iter().map(|item| item["userId"].clone());
    assert!(
        owners.into_iter().all(|owner| owner == AttributeValue::S("user_ada".to_owned())),
        "eve has written nothing"
    );
}
