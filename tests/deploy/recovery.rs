//! Restoring tables, and creating a stack again over its tables.

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use api::Operation;
use aws_sdk_dynamodb::{
    primitives::{DateTime, DateTimeFormat},
    types::AttributeValue,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    aws::Aws,
    sample::{Sample, items},
    socket::{Socket, change},
    stack::{self, Stack},
};

/// Items in an order that does not depend on their tables.
fn sorted(items: Vec<HashMap<String, AttributeValue>>) -> Vec<String> {
    let mut items: Vec<_> = items.into_iter().map(|item| format!("{:?}", BTreeMap::from_iter(item))).collect();
    items.sort();
    items
}

#[tokio::test]
async fn damaged_table_is_restored_without_an_outage_and_a_new_stack_finds_its_data() {
    let aws = Aws::start("recovery").await;
    let template = aws.built().join("template.yaml");
    let mut stack = Stack::deploy(&aws, &template, &[]).await;
    let chats = Sample::with(&[Operation::Create, Operation::Get, Operation::List]);
    let chats = chats.into_iter().find(|sample| sample.function == "chats").expect("the resource of the template");
    // A token is valid for a minute, and a deployment can take longer.
    let ada = |stack: &Stack<'_>| stack.sign_in("user_ada", "sess_1");
    let kept = stack.call(Some(&ada(&stack)), "POST", &chats.path, Some(chats.create.clone())).await.body;
    let dynamodb = aws.dynamodb();
    let damaged = stack.table("ChatsTable").to_owned();
    let mut all = stack.items().await;

    // After the point in time, the items are damaged, and a profile is written.
    let at = SystemTime::now();
    let text = DateTime::from(at).fmt(DateTimeFormat::DateTime).expect("before long");
    let key = ["userId", "chatId"].into_iter().zip(["user_ada", kept["id"].as_str().expect("an id")]);
    let mut damage = dynamodb.update_item().table_name(&damaged).update_expression("SET title = :damage");
    for (name, value) in key {
        damage = damage.key(name, AttributeValue::S(value.to_owned()));
    }
    damage.expression_attribute_values(":damage", AttributeValue::Bool(true)).send().await.expect("written");
    assert_eq!(stack.call(Some(&ada(&stack)), "GET", &chats.path, None).await.status, 500, "the items are damaged");
    assert_eq!(
        stack.call(Some(&ada(&stack)), "PATCH", "/profile", Some(json!({ "firstName": "Ada" }))).await.status,
        201
    );
    all.extend(stack.items().await.into_iter().filter(|item| !item.contains_key("chatId")));

    let restored = aws.operate(&["--stack", stack::NAME, "restore", "chats", "--at", &text, "--name", "restored"]);
    let parameter = restored.trim().to_owned();
    assert!(
        parameter.starts_with("ExistingChatsTable=arn:") && parameter.contains(":table/restored/stream/"),
        "{parameter}"
    );
    // An interrupted command continues, and a complete one changes nothing.
    assert_eq!(
        aws.operate(&["--stack", stack::NAME, "restore", "chats", "--at", &text, "--name", "restored"]),
        restored
    );

    let served = async {
        let none = chats.item(&Uuid::now_v7().to_string());
        // Until the deployment ends.
        loop {
            for (path, status) in [("/profile", 200), (none.as_str(), 404)] {
                assert_eq!(
                    stack.call(Some(&ada(&stack)), "GET", path, None).await.status,
                    status,
                    "an outage of {path}"
                );
            }
        }
    };
    let switch = [parameter.as_str(), "Rollout=AtOnce"];
    tokio::select! {
        () = served => {}
        set = stack.set(&template, &switch) => set.unwrap_or_else(|error| panic!("{error}")),
    }
    stack.find().await;
    assert_eq!(stack.table("ChatsTable"), "restored");
    crate::the_tables_are_the_templates(&stack).await;
    assert_eq!(
        items(&stack.call(Some(&ada(&stack)), "GET", &chats.path, None).await.body),
        std::slice::from_ref(&kept)
    );
    assert_eq!(sorted(stack.items().await), sorted(all.clone()), "nothing else is lost");
    dynamodb.describe_table().table_name(&damaged).send().await.expect("the damaged table is still there");

    // Its stream is consumed.
    let mut socket = Socket::with_token(&stack.live(), &ada(&stack)).await.expect("it opens");
    let created = stack.call(Some(&ada(&stack)), "POST", &chats.path, Some(chats.other.clone())).await.body;
    socket.receives(&change(&chats, &created["id"], &created["version"])).await;
    drop(socket);

    // A stack that is created again.
    let before = sorted(stack.items().await);
    let mut existing = Vec::new();
    for resource in ["Users", "Sessions", "Chats"] {
        let table = dynamodb.describe_table().table_name(stack.table(&format!("{resource}Table"))).send().await;
        let stream = table.expect("described").table.expect("it").latest_stream_arn.expect("it has a stream");
        existing.push(format!("Existing{resource}Table={stream}"));
    }
    stack.delete().await;
    let existing: Vec<_> = existing.iter().map(String::as_str).collect();
    let again = Stack::deploy(&aws, &template, &existing).await;
    assert_eq!(sorted(again.items().await), before);
    assert_eq!(items(&again.call(Some(&ada(&again)), "GET", &chats.path, None).await.body).len(), 2);
    assert_eq!(again.call(Some(&ada(&again)), "GET", "/profile", None).await.body["firstName"], "Ada");
}
