//! What stream records say of a user.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use serde_json::{Value, json};
use store::{Batch, Change, Streams, UserChanges};

fn streams() -> Streams {
    Streams::new("UsersTable".to_owned(), "SessionsTable".to_owned())
}

fn read(records: &[Value]) -> Batch {
    let records: Vec<_> = (0..)
        .zip(records)
        .map(|(number, record)| {
            let mut record = record.clone();
            record["dynamodb"]["SequenceNumber"] = format!("{number}").into();
            record
        })
        .collect();
    streams().read(json!({ "Records": records }).to_string().as_bytes()).expect("a batch")
}

/// The only user of the only record.
fn user(record: Value) -> UserChanges {
    let Batch { mut users, invalid } = read(&[record]);
    assert_eq!((users.len(), invalid), (1, Vec::new()));
    users.remove(0)
}

fn record(table: &str, name: &str, keys: Value, new: Value, old: Value) -> Value {
    let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}/stream/2026-11-26T00:00:00.000");
    let mut record = json!({
        "eventID": "1", "eventName": name, "eventSourceARN": arn,
        "dynamodb": { "Keys": keys, "ApproximateCreationDateTime": 1_764_000_000.0, "SizeBytes": 1 },
    });
    for (member, image) in [("NewImage", new), ("OldImage", old)] {
        if !image.is_null() {
            record["dynamodb"][member] = image;
        }
    }
    record
}

/// A write of `user_ada`'s note `sort_key`, of which the image has these attributes beside its keys.
fn note(sort_key: &str, image: Value) -> Value {
    let keys = json!({ "userId": { "S": "user_ada" }, "noteId": { "S": sort_key } });
    let mut new = keys.clone();
    new.as_object_mut().expect("an object").extend(image.as_object().expect("an object").clone());
    record("NotesTable", "MODIFY", keys, new, Value::Null)
}

fn written(version: u64) -> Value {
    json!({
        "resourceType": { "S": "notes" }, "version": { "N": version.to_string() }, "updatedAt": { "N": "1764000000000" },
        "listPosition": { "S": "1#1" }, "text": { "S": "secret plans" },
    })
}

fn change(id: &str, parents: &[&str], version: Option<u64>) -> Change {
    let parents = parents.iter().map(|&id| id.to_owned()).collect();
    Change { of: "notes".to_owned(), id: Some(id.to_owned()), parents, version }
}

#[test]
fn written_items_are_named_with_their_version() {
    let ada = user(note("n1", written(3)));
    assert_eq!(ada.changes, [change("n1", &[], Some(3))]);
    assert_eq!((ada.written_at, ada.is_incomplete, ada.account_ended), (Some(1_764_000_000_000), false, false));
    assert_eq!(user(note("c1#n1", written(1))).changes, [change("n1", &["c1"], Some(1))]);
    assert_eq!(user(note("a#b#c", written(1))).changes, [change("c", &["a", "b"], Some(1))]);
    let text = serde_json::to_string(&ada.changes).expect("JSON");
    assert_eq!(text, r#"[{"of":"notes","id":"n1","version":3}]"#);
}

#[test]
fn deleted_items_have_no_version() {
    let tombstone = json!({ "resourceType": { "S": "notes" }, "version": { "N": "4" }, "expiresAt": { "N": "1" } });
    assert_eq!(user(note("n1", tombstone)).changes, [change("n1", &[], None)]);
}

#[test]
fn items_of_releases_without_a_resource_type_are_incomplete() {
    let mut image = written(1);
    image.as_object_mut().expect("an object").remove("resourceType");
    let ada = user(note("n1", image));
    assert!(ada.is_incomplete && ada.changes.is_empty() && !ada.is_empty());
}

#[test]
fn a_batch_names_the_last_change_of_each_item() {
    let batch =
        read(&[note("n1", written(1)), note("n2", written(1)), note("n1", written(2)), note("c1#n1", written(7))]);
    let [ada] = batch.users.as_slice() else { panic!("{batch:?}") };
    assert_eq!(ada.changes, [change("n2", &[], Some(1)), change("n1", &[], Some(2)), change("n1", &["c1"], Some(7))]);
    assert_eq!(ada.records, ["0", "1", "2", "3"]);
}

#[test]
fn users_are_kept_apart() {
    let mut eves = note("n1", written(5));
    eves["dynamodb"]["Keys"]["userId"]["S"] = "user_eve".into();
    let batch = read(&[note("n1", written(1)), eves, note("n2", written(1))]);
    let [ada, eve] = batch.users.as_slice() else { panic!("{batch:?}") };
    assert_eq!(
        (ada.records.clone(), eve.records.clone()),
        (vec!["0".to_owned(), "2".to_owned()], vec!["1".to_owned()])
    );
    assert_eq!(eve.changes, [change("n1", &[], Some(5))]);
}

fn account(new: Value, old: Value) -> UserChanges {
    let keys = json!({ "userId": { "S": "user_ada" } });
    let with_key = |image: Value| {
        let mut image = image;
        if !image.is_null() {
            image["userId"] = json!({ "S": "user_ada" });
        }
        image
    };
    user(record("UsersTable", "MODIFY", keys, with_key(new), with_key(old)))
}

#[test]
fn profiles_are_named_only_if_what_is_shown_changed() {
    let ada = |name: &str, at: &str| json!({ "callerFirstName": { "S": name }, "callerUpdatedAt": { "N": at } });
    let profile = |version| Change { of: "profile".to_owned(), id: None, parents: Vec::new(), version: Some(version) };
    assert_eq!(account(ada("Ada", "5"), Value::Null).changes, [profile(5)]);
    assert_eq!(account(ada("Augusta", "6"), ada("Ada", "5")).changes, [profile(6)]);
    assert!(account(ada("Ada", "6"), ada("Ada", "5")).is_empty(), "a sign-in changes only the time");
    let changes = account(ada("Ada", "5"), Value::Null).changes;
    assert_eq!(serde_json::to_string(&changes).expect("JSON"), r#"[{"of":"profile","version":5}]"#);
}

#[test]
fn deleted_and_banned_accounts_have_ended() {
    for (image, ended) in [
        (json!({ "isActive": { "BOOL": false } }), true),
        (json!({ "isActive": { "BOOL": true }, "banned": { "BOOL": true } }), true),
        (json!({ "isActive": { "BOOL": true }, "banned": { "BOOL": false } }), false),
        (json!({}), false),
    ] {
        assert_eq!(account(image.clone(), Value::Null).account_ended, ended, "{image}");
    }
}

#[test]
fn ended_sessions_are_named() {
    let keys = |sort_key: &str| json!({ "userId": { "S": "user_ada" }, sort_key: { "S": "sess_1" } });
    let ended = user(record("SessionsTable", "INSERT", keys("sessionId"), Value::Null, Value::Null));
    assert_eq!(ended.ended_sessions.into_iter().collect::<Vec<_>>(), ["sess_1"]);
    // A resource can have such a key as well.
    let mut image = written(1);
    image["sessionId"] = json!({ "S": "sess_1" });
    let other = user(record("TrainingsTable", "INSERT", keys("sessionId"), image, Value::Null));
    assert!(other.ended_sessions.is_empty() && other.changes.len() == 1, "{other:?}");
}

#[test]
fn removed_items_say_nothing() {
    for table in ["UsersTable", "SessionsTable", "NotesTable"] {
        let keys = json!({ "userId": { "S": "user_ada" } });
        assert!(user(record(table, "REMOVE", keys, Value::Null, Value::Null)).is_empty());
    }
}

#[test]
fn unreadable_records_are_reported_and_the_others_are_read() {
    let keys = json!({ "userId": { "S": "user_ada" }, "noteId": { "S": "n1" } });
    let mut without_version = written(1);
    without_version.as_object_mut().expect("an object").remove("version");
    let no_image = record("NotesTable", "MODIFY", keys.clone(), Value::Null, Value::Null);
    let no_user = record("NotesTable", "MODIFY", json!({ "noteId": { "S": "n1" } }), written(1), Value::Null);
    let account_without_image =
        record("UsersTable", "MODIFY", json!({ "userId": { "S": "user_ada" } }), Value::Null, Value::Null);
    let batch = read(&[no_image, note("n2", written(1)), no_user, note("n1", without_version), account_without_image]);
    assert_eq!(batch.invalid, ["0", "2", "3", "4"]);
    assert_eq!(batch.users[0].changes, [change("n2", &[], Some(1))]);
}

#[test]
fn other_events_are_not_batches() {
    for event in ["", "null", "{}", r#"{"Records":[{}]}"#, r#"{"Records":[{"dynamodb":{}}]}"#] {
        let error = streams().read(event.as_bytes()).expect_err("not a batch");
        assert_eq!(error.to_string(), "the event is not a batch of stream records");
    }
    assert!(streams().read(br#"{"Records":[]}"#).expect("an empty batch").users.is_empty());
}
