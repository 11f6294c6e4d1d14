//! The operators' commands, on an engine with a few users and resources of these tests.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]

use std::{collections::HashMap, fs, path::Path, process::Output};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::AttributeValue,
};
use local::template::{Table, Template};
use serde_json::{Value, json};
use test_support::Engine;

const LONG_AGO: u64 = 1_600_000_000_000;

struct Fixture {
    engine: Engine,
    client: Client,
    folder: tempfile::TempDir,
}

type Item = HashMap<String, AttributeValue>;

fn item(members: Value) -> Item {
    serde_dynamo::to_item(members).expect("an item")
}

fn table(name: &str, keys: &[&str]) -> Table {
    let attributes: Vec<_> = keys.iter().map(|key| json!({ "AttributeName": key, "AttributeType": "S" })).collect();
    let kinds = keys.iter().zip(["HASH", "RANGE"]);
    let keys: Vec<_> = kinds.map(|(key, kind)| json!({ "AttributeName": key, "KeyType": kind })).collect();
    let create = json!({
        "TableName": name, "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": attributes, "KeySchema": keys,
    });
    Table { name: name.to_owned(), create, ttl_attribute: None, stream_view_type: None }
}

/// The tables of accounts and sessions, and some of these tests.
fn template() -> Template {
    let mut template = Template::load().expect("the template is valid");
    template.tables.retain(|table| ["UsersTable", "SessionsTable"].contains(&table.name.as_str()));
    template.tables.push(table("NotesTable", &["userId", "noteId"]));
    template.tables.push(table("LiveConnectionsTable", &["userId", "connection"]));
    template.tables.push(table("UserSettingsTable", &["userId"]));
    template.tables.push(table("RatesTable", &["currency"]));
    template
}

impl Fixture {
    async fn new() -> Self {
        let engine = test_support::in_memory_with(&template()).await.expect("the engine starts");
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .endpoint_url(engine.url())
            .http_client(aws::http_client(None))
            .build();
        Self { client: Client::from_conf(config), engine, folder: tempfile::tempdir().expect("a folder") }
    }

    async fn put(&self, table: &str, members: Value) {
        let put = self.client.put_item().table_name(table).set_item(Some(item(members)));
        put.send().await.expect("written");
    }

    /// Adds an account with an email address and with `notes` notes, deleted at `deleted_at`.
    async fn user(&self, id: &str, notes: u64, deleted_at: Option<u64>) {
        let mut account = json!({
            "userId": id, "email": format!("{id}@example.com"), "firstName": "Ada", "isActive": deleted_at.is_none(),
            "banned": false, "createdAt": 1, "clerkVersion": format!("{:020}-fingerprint", 1), "callerEmail": "a@b.example",
        });
        if let Some(at) = deleted_at {
            account["deletedAt"] = json!(at);
        }
        self.put("UsersTable", account).await;
        for number in 0..notes {
            let note = json!({
                "userId": id, "noteId": note_id(number), "title": format!("Note {number} of {id}"), "createdAt": number,
                "updatedAt": number, "version": 1, "listPosition": format!("{number:015}#{}", note_id(number)),
            });
            self.put("NotesTable", note).await;
        }
        self.put("SessionsTable", json!({ "userId": id, "sessionId": "sess_1", "expiresAt": 9_999_999_999_u64 })).await;
    }

    async fn items(&self, table: &str, user: &str) -> Vec<Value> {
        let query = self.client.query().table_name(table).key_condition_expression("userId = :user");
        let found = query.expression_attribute_values(":user", AttributeValue::S(user.to_owned())).send().await;
        serde_dynamo::from_items(found.expect("read").items.unwrap_or_default()).expect("items")
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let port = self.engine.url().rsplit(':').next().expect("a port").to_owned();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_operate"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("STACK");
        command.env("DYNAMODB_PORT", port).env("LOCAL_DATA", self.engine.data());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.expect("operate runs")
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("UTF-8").trim().to_owned()
    }
}

fn note_id(number: u64) -> String {
    format!("01890a5d-ac96-774b-bcce-{number:012}")
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("it is there")).expect("it is JSON")
}

#[tokio::test]
async fn export_holds_only_the_users_own_data() {
    let fixture = Fixture::new().await;
    fixture.user("user_ada", 60, None).await;
    fixture.user("user_eve", 3, None).await;
    let summary = fixture.succeeds(&["export", "--user", "user_ada", "--page", "25"]).await;
    let expected = "wrote export-user_ada.json (account: 1, endedSessions: 1, liveConnections: 0, notes: 60, profile: 1, userSettings: 0)";
    assert_eq!(summary, expected);
    let file = fixture.folder.path().join("export-user_ada.json");
    assert!(fs::read_to_string(&file).expect("it is text").ends_with("}\n"));
    let export = json_file(&file);
    assert_eq!(export["profile"]["email"], "user_ada@example.com");
    assert_eq!(export["account"]["callerEmail"], "a@b.example", "all stored attributes, and not only those of the API");
    assert_eq!(export["endedSessions"][0]["sessionId"], "sess_1");
    let ids: Vec<_> = export["notes"].as_array().expect("a list").iter().map(|note| note["id"].clone()).collect();
    assert_eq!(ids, (0..60).map(|number| json!(note_id(number))).collect::<Vec<_>>());
    assert!(!export.to_string().contains("user_eve"));
    assert_eq!(fs::read_dir(fixture.folder.path()).expect("a folder").count(), 1, "no other file is left");
}

#[tokio::test]
async fn every_table_of_users_is_exported_and_erased() {
    let fixture = Fixture::new().await;
    fixture.user("user_gone", 1, Some(LONG_AGO)).await;
    fixture.put("UserSettingsTable", json!({ "userId": "user_gone", "theme": "dark" })).await;
    fixture.put("UserSettingsTable", json!({ "userId": "user_ada", "theme": "light" })).await;
    let rate = json!({ "currency": "EUR", "userId": "user_gone" });
    fixture.put("RatesTable", rate.clone()).await;

    fixture.succeeds(&["export", "--user", "user_gone", "--output", "gone.json"]).await;
    let export = json_file(&fixture.folder.path().join("gone.json"));
    assert_eq!(export["userSettings"], json!([{ "theme": "dark" }]));
    assert!(export.get("rates").is_none(), "its partitions are not users'");

    assert_eq!(fixture.succeeds(&["erase"]).await, "erased users: 1, with items: 3");
    assert_eq!(fixture.items("UserSettingsTable", "user_gone").await, Vec::<Value>::new());
    assert_eq!(fixture.items("UserSettingsTable", "user_ada").await.len(), 1);
    let rates = fixture.client.scan().table_name("RatesTable").send().await.expect("read").items.unwrap_or_default();
    assert_eq!(rates, [item(rate)]);
}

#[tokio::test]
async fn tombstones_are_erased_and_not_exported() {
    let fixture = Fixture::new().await;
    fixture.user("user_ada", 2, None).await;
    fixture.user("user_gone", 0, Some(LONG_AGO)).await;
    for user in ["user_ada", "user_gone"] {
        let tombstone = json!({
            "userId": user, "noteId": note_id(7), "version": 2, "write1": "w", "expiresAt": 9_999_999_999_u64,
        });
        fixture.put("NotesTable", tombstone).await;
    }
    fixture.succeeds(&["export", "--user", "user_ada", "--output", "ada.json", "--page", "1"]).await;
    let export = json_file(&fixture.folder.path().join("ada.json"));
    assert_eq!(export["notes"].as_array().map(Vec::len), Some(2));

    assert_eq!(fixture.succeeds(&["erase"]).await, "erased users: 1, with items: 2");
    assert_eq!(fixture.items("NotesTable", "user_gone").await, Vec::<Value>::new());
}

#[tokio::test]
async fn connections_are_exported_and_erased() {
    let fixture = Fixture::new().await;
    for (user, deleted_at) in [("user_ada", None), ("user_gone", Some(LONG_AGO))] {
        fixture.user(user, 1, deleted_at).await;
        let expires_at = 9_999_999_999_u64;
        let row = json!({ "userId": user, "connection": "1#a", "sessionId": "sess_1", "expiresAt": expires_at });
        fixture.put("LiveConnectionsTable", row).await;
    }
    fixture.succeeds(&["export", "--user", "user_ada", "--output", "ada.json"]).await;
    let export = json_file(&fixture.folder.path().join("ada.json"));
    assert_eq!(
        export["liveConnections"],
        json!([{ "id": "1#a", "sessionId": "sess_1", "expiresAt": 9_999_999_999_u64 }])
    );
    fixture.succeeds(&["erase"]).await;
    assert_eq!(fixture.items("LiveConnectionsTable", "user_gone").await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_export_holds_only_what_is_stored_now() {
    let fixture = Fixture::new().await;
    fixture.user("user_ada", 3, None).await;
    // Files that an interrupted run of an earlier release left before a note was deleted, or planted files.
    let line = |number| json!({ "id": note_id(number), "title": "planted" }).to_string() + "\n";
    fs::write(fixture.folder.path().join("ada.json.user_ada.notes"), line(0) + &line(9)).expect("written");
    fixture.succeeds(&["export", "--user", "user_ada", "--output", "ada.json", "--page", "2"]).await;
    let export = json_file(&fixture.folder.path().join("ada.json"));
    let ids: Vec<_> = export["notes"].as_array().expect("a list").iter().map(|note| note["id"].clone()).collect();
    assert_eq!(ids, (0..3).map(|number| json!(note_id(number))).collect::<Vec<_>>());
    assert!(!export.to_string().contains("planted"));
}

#[tokio::test]
async fn an_export_follows_no_link_and_is_private() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let fixture = Fixture::new().await;
    fixture.user("user_ada", 1, None).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let target = elsewhere.path().join("target");
    fs::write(&target, "untouched").expect("written");
    for name in ["ada.json", "ada.json.user_ada.notes"] {
        symlink(&target, fixture.folder.path().join(name)).expect("linked");
    }
    fixture.succeeds(&["export", "--user", "user_ada", "--output", "ada.json"]).await;
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "untouched");
    let written = fs::symlink_metadata(fixture.folder.path().join("ada.json")).expect("it is there");
    assert!(written.is_file());
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn unknown_user_cannot_be_exported() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.fails(&["export", "--user", "user_nobody"]).await, "error: no data of user_nobody is stored");
    assert_eq!(fs::read_dir(fixture.folder.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn users_deleted_long_ago_are_erased_to_a_tombstone() {
    let fixture = Fixture::new().await;
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let yesterday = u64::try_from(now).expect("before long") - 24 * 60 * 60 * 1000;
    fixture.user("user_gone", 60, Some(LONG_AGO)).await;
    fixture.user("user_late", 2, Some(yesterday)).await;
    fixture.user("user_here", 2, None).await;

    assert_eq!(fixture.succeeds(&["erase", "--dry-run"]).await, "user_gone\nusers that would be erased: 1");
    assert_eq!(fixture.items("NotesTable", "user_gone").await.len(), 60, "a dry run changes nothing");

    assert_eq!(fixture.succeeds(&["erase"]).await, "erased users: 1, with items: 61");
    assert_eq!(fixture.items("NotesTable", "user_gone").await, Vec::<Value>::new());
    assert_eq!(fixture.items("SessionsTable", "user_gone").await, Vec::<Value>::new());
    let mut tombstone = fixture.items("UsersTable", "user_gone").await.remove(0);
    assert!(tombstone["erasedAt"].take().is_number());
    let bare = json!({ "userId": "user_gone", "isActive": false, "deletedAt": LONG_AGO, "erasedAt": null });
    assert_eq!(tombstone, bare);
    for (user, notes) in [("user_late", 2), ("user_here", 2)] {
        assert_eq!(fixture.items("NotesTable", user).await.len(), notes, "{user}");
        assert_eq!(fixture.items("UsersTable", user).await[0]["firstName"], "Ada", "{user}");
    }

    assert_eq!(fixture.succeeds(&["erase"]).await, "erased users: 0, with items: 0");
    assert_eq!(fixture.succeeds(&["erase", "--days", "1"]).await, "erased users: 1, with items: 3");
}

#[tokio::test]
async fn interrupted_erasure_continues_with_the_rest() {
    let fixture = Fixture::new().await;
    for user in ["user_1", "user_2", "user_3"] {
        fixture.user(user, 1, Some(LONG_AGO)).await;
    }
    assert!(fixture.succeeds(&["erase", "--limit", "2"]).await.starts_with("erased users: 2,"));
    assert!(fixture.succeeds(&["erase"]).await.starts_with("erased users: 1,"));
}

#[tokio::test]
async fn single_user_is_erased_only_after_deletion() {
    let fixture = Fixture::new().await;
    fixture.user("user_here", 1, None).await;
    fixture.user("user_gone", 1, Some(LONG_AGO)).await;
    assert!(fixture.fails(&["erase", "--user", "user_here"]).await.contains("user_here is not deleted"));
    assert!(fixture.fails(&["erase", "--user", "user_nobody"]).await.contains("no account has the id user_nobody"));
    assert!(fixture.succeeds(&["erase", "--user", "user_gone"]).await.starts_with("erased users: 1,"));
    assert_eq!(fixture.items("NotesTable", "user_here").await.len(), 1);

    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("before long");
    fixture.user("user_going", 1, Some(now)).await;
    assert!(fixture.fails(&["erase", "--user", "user_going"]).await.contains("was deleted less than two minutes ago"));
    assert!(fixture.succeeds(&["erase", "--days", "0"]).await.starts_with("erased users: 0,"));
}

#[tokio::test]
async fn erasure_waits_from_the_receipt_of_the_deletion() {
    let fixture = Fixture::new().await;
    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("before long");
    let days = |days: u64| days * 24 * 60 * 60 * 1000;
    // Announced long ago and received late, and the reverse, by a clock that is ahead.
    for (user, announced_at, received_at) in [
        ("user_just_now", LONG_AGO, now),
        ("user_yesterday", LONG_AGO, now - days(1)),
        ("user_ahead", now + days(365), now - days(31)),
    ] {
        fixture.user(user, 1, Some(announced_at)).await;
        let mut account = fixture.items("UsersTable", user).await.remove(0);
        account["deletionReceivedAt"] = received_at.into();
        fixture.put("UsersTable", account).await;
    }
    let failure = fixture.fails(&["erase", "--user", "user_just_now"]).await;
    assert!(failure.contains("user_just_now was deleted less than two minutes ago"), "{failure}");
    assert_eq!(fixture.succeeds(&["erase", "--dry-run"]).await, "user_ahead\nusers that would be erased: 1");
    assert!(fixture.succeeds(&["erase"]).await.starts_with("erased users: 1,"));
    let mut tombstone = fixture.items("UsersTable", "user_ahead").await.remove(0);
    assert!(tombstone["erasedAt"].take().is_number());
    let bare = json!({
        "userId": "user_ahead", "isActive": false, "deletedAt": now + days(365),
        "deletionReceivedAt": now - days(31), "erasedAt": null,
    });
    assert_eq!(tombstone, bare);
    assert!(fixture.succeeds(&["erase", "--days", "0"]).await.starts_with("erased users: 1,"));
    assert_eq!(fixture.items("NotesTable", "user_just_now").await.len(), 1);
}

#[tokio::test]
async fn settings_in_the_environment_conflict_with_no_option() {
    let fixture = Fixture::new().await;
    fixture.user("user_gone", 1, Some(LONG_AGO)).await;
    let output = fixture.command(&["erase", "--user", "user_gone"]).env("ERASE_AFTER_DAYS", "60000").output().await;
    let output = output.expect("operate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("erased users: 1,"));
}

#[tokio::test]
async fn empty_variables_count_as_unset() {
    let fixture = Fixture::new().await;
    fixture.user("user_gone", 1, Some(LONG_AGO)).await;
    let mut command = fixture.command(&["erase", "--user", "user_gone"]);
    let output = command.env("ERASE_AFTER_DAYS", "").env("STACK", "").output().await.expect("operate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn restored_items_are_erased_again() {
    let fixture = Fixture::new().await;
    for user in ["user_1", "user_2"] {
        fixture.user(user, 1, Some(LONG_AGO)).await;
    }
    fixture.succeeds(&["erase"]).await;
    let tombstones = [fixture.items("UsersTable", "user_1").await, fixture.items("UsersTable", "user_2").await];
    for user in ["user_1", "user_2"] {
        let session = json!({ "userId": user, "sessionId": "sess_1", "expiresAt": 9_999_999_999_u64 });
        fixture.put("SessionsTable", session).await;
    }
    assert!(fixture.succeeds(&["erase"]).await.starts_with("erased users: 0,"), "they were erased before");
    let printed = fixture.succeeds(&["erase", "--user", "user_1"]).await;
    assert_eq!(printed, "erased users: 1, with items: 1");
    let printed = fixture.succeeds(&["erase", "--again"]).await;
    assert_eq!(printed, "erased users: 2, with items: 1");
    let left = [fixture.items("UsersTable", "user_1").await, fixture.items("UsersTable", "user_2").await];
    assert_eq!(left, tombstones);
}

#[tokio::test]
async fn export_ignores_files_of_earlier_exports() {
    let fixture = Fixture::new().await;
    fixture.user("user_eve", 1, None).await;
    let theirs = json!({ "id": note_id(9), "title": "a secret" }).to_string() + "\n";
    for name in ["out.json.user_ada.notes", "out.notes", "out.whole"] {
        fs::write(fixture.folder.path().join(name), &theirs).expect("written");
    }
    fixture.succeeds(&["export", "--user", "user_eve", "--output", "out.json"]).await;
    let export = json_file(&fixture.folder.path().join("out.json"));
    assert_eq!(export["notes"].as_array().map(Vec::len), Some(1));
    assert!(!export.to_string().contains("a secret"));
}

#[tokio::test]
async fn an_export_has_attributes_that_the_api_omits() {
    let fixture = Fixture::new().await;
    let note = json!({
        "userId": "user_ada", "noteId": note_id(1), "title": "Better", "fingerprint": "f", "createdAt": 1,
        "updatedAt": 2, "version": 2, "firstVersion": 1,
    });
    fixture.put("NotesTable", note).await;
    fixture.succeeds(&["export", "--user", "user_ada", "--output", "out.json"]).await;
    let note = &json_file(&fixture.folder.path().join("out.json"))["notes"][0];
    assert_eq!((&note["title"], &note["fingerprint"]), (&json!("Better"), &json!("f")));
}

#[tokio::test]
async fn user_tag_matches_the_logs() {
    let fixture = Fixture::new().await;
    // printf %s user_ada | sha256sum | cut -c 1-16
    assert_eq!(fixture.succeeds(&["user-tag", "user_ada"]).await, "63ef8539c7e06980");
}

#[tokio::test]
async fn a_stack_that_is_not_running_is_reported() {
    let fixture = Fixture::new().await;
    // Nothing listens on this port.
    let mut command = fixture.command(&["erase", "--dynamodb-port", "1"]);
    command.env_remove("DYNAMODB_PORT");
    let output = command.output().await.expect("it runs");
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .starts_with("error: the local stack is not running on port 1. Start it")
    );

    let output = command.env("LOCAL_DATA", fixture.engine.data().join("nothing")).output().await.expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: the local stack has never run"));
}

#[tokio::test]
async fn errors_hold_no_text_of_a_response() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MARKER: &str = "Ada's secret plans";
    let fixture = Fixture::new().await;
    let broken = json!({ "Items": [{ "title": { "S": MARKER } }], "Item": { "title": { "S": MARKER } } }).to_string();
    let broken = broken[..broken.len() - 3].to_owned();
    let error = json!({ "__type": "com.amazon.coral.validate#ValidationException", "message": MARKER }).to_string();
    let unreadable = json!({ "Items": [], "Item": { "isActive": { "S": MARKER } } }).to_string();
    let listed = json!({ "TableNames": ["UsersTable", "SessionsTable", "NotesTable"] }).to_string();
    let keys = json!([{ "AttributeName": "userId", "KeyType": "HASH" }]);
    let table = json!({ "Table": { "KeySchema": keys } }).to_string();
    let response = |status: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    for (status, body, code) in
        [("200 OK", broken, ""), ("400 Bad Request", error, "ValidationException"), ("200 OK", unreadable, "")]
    {
        // With and without a list of tables.
        for finds_tables in [true, false] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("its address").port().to_string();
            let [listed, table, canned] =
                [("200 OK", &listed), ("200 OK", &table), (status, &body)].map(|(status, body)| response(status, body));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = [0; 4096];
                    // The request is small.
                    let length = stream.read(&mut request).await.unwrap_or_default();
                    let request = String::from_utf8_lossy(&request[..length]);
                    let response = match () {
                        () if finds_tables && request.contains("ListTables") => &listed,
                        () if finds_tables && request.contains("DescribeTable") => &table,
                        () => &canned,
                    };
                    let _ = stream.write_all(response.as_bytes()).await;
                }
            });
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_operate"));
            command.args(["export", "--user", "user_ada", "--dynamodb-port", &port]).env_remove("STACK");
            let output = command.env("LOCAL_DATA", fixture.engine.data()).output().await.expect("it runs");
            let printed = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
            assert!(printed.contains("error: ") && printed.contains(code), "{printed}");
            assert!(!printed.contains(MARKER), "{printed}");
            assert_eq!(printed.contains("tables"), !finds_tables, "{printed}");
        }
    }
}
