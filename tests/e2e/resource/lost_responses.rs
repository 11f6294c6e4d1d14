//! Writes that take effect in DynamoDB, whose responses do not arrive.

use api::Operation::{Create, Delete, List, Update};
use serde_json::{Value, json};

use crate::{
    faults::Stack,
    sample::{Sample, contains, new_id},
};

#[tokio::test]
async fn a_creation_takes_effect_once() {
    for sample in Sample::with(&[Create, List]) {
        let stack = Stack::start(&sample).await;
        stack.lose_response("UpdateItem");
        let unnamed = stack.create().await;
        let named = sample.create_with_id(&new_id());
        stack.lose_response("UpdateItem");
        let (status, created) = stack.call("POST", &sample.path, named.clone()).await;
        assert_eq!((status, &created["id"], &created["version"]), (201, &named["id"], &json!(1)), "{created}");
        let repeated = stack.call("POST", &sample.path, named).await;
        assert_eq!(repeated, (200, created.clone()), "the client repeats it");
        let listed = stack.items().await;
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert_eq!(listed[0], created);
        assert_eq!(sample.item(listed[1]["id"].as_str().expect("an id")), unnamed);
    }
}

#[tokio::test]
async fn an_update_takes_effect_once() {
    for sample in Sample::with(&[Create, List, Update]) {
        let stack = Stack::start(&sample).await;
        let path = stack.create().await;
        for (if_match, version) in [("", 2), ("\"2\"", 3), ("*", 4)] {
            stack.lose_response("UpdateItem");
            let (status, item) = stack.call_if("PATCH", &path, sample.update.clone(), if_match).await;
            assert_eq!((status, &item["version"]), (200, &json!(version)), "{if_match}: {item}");
            assert!(contains(&item, &sample.update), "{item}");
            assert_eq!(stack.items().await, [item]);
        }
        let (status, problem) = stack.call_if("PATCH", &path, sample.update.clone(), "\"3\"").await;
        assert_eq!((status, &problem["version"]), (412, &json!(4)), "{problem}");
    }
}

#[tokio::test]
async fn a_deletion_succeeds_and_takes_effect_once() {
    for sample in Sample::with(&[Create, Delete, List]) {
        let stack = Stack::start(&sample).await;
        for if_match in ["", "\"1\"", "*"] {
            let path = stack.create().await;
            stack.lose_response("UpdateItem");
            let deleted = stack.call_if("DELETE", &path, Value::Null, if_match).await;
            assert_eq!(deleted, (204, Value::Null), "{if_match}");
            assert_eq!(stack.call_if("DELETE", &path, Value::Null, if_match).await.0, 404, "{if_match}");
            assert!(stack.items().await.is_empty(), "{if_match}");
        }
    }
}
