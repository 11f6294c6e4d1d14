//! Live updates: changes reach the open connections of their user, and no connection outlives its session.

use std::time::{Duration, Instant, UNIX_EPOCH};

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use test_support::SigningKey;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::User,
    guards::{access_key, database, signed},
    sample::Sample,
    socket::{Socket, change, changes},
    stack::{now, stack},
    standalone::tables,
};

/// Connects with a session token, or returns the status of the rejection.
async fn open(token: &str) -> Result<Socket, u16> {
    Socket::with_token(stack().live(), token).await
}

/// Connects with these subprotocols.
async fn offer(protocols: &str) -> Result<Socket, u16> {
    Socket::connect(stack().live(), &[("sec-websocket-protocol", protocols.to_owned())]).await
}

async fn connect(user: &User) -> Socket {
    open(&user.token()).await.expect("it opens")
}

/// Creates an item, and returns the change that a message has for it.
async fn create(user: &User, sample: &Sample) -> Value {
    let created = user.create(sample).await.body;
    change(sample, &created["id"], &created["version"])
}

/// A session token of one of Clerk's sessions.
async fn token_of(session_id: &str) -> String {
    let secrets = local::clerk::Secrets::load(stack().data()).expect("readable").expect("the stack has written them");
    let request = Client::new().post(format!("{}/v1/sessions/{session_id}/tokens", stack().clerk()));
    let response = request.bearer_auth(secrets.secret_key).send().await.expect("Clerk responds");
    response.json::<Value>().await.expect("JSON")["jwt"].as_str().expect("a token").to_owned()
}

/// An operation of the database.
async fn dynamodb(operation: &str, request: Value) -> Value {
    let response = database(operation, &access_key()).body(request.to_string()).send().await.expect("it responds");
    assert_eq!(response.status(), 200, "{operation}");
    response.json().await.expect("JSON")
}

fn table() -> String {
    tables("live-connect")["CONNECTIONS_TABLE"].clone()
}

/// The sort keys of a user's stored connections, oldest first.
async fn rows(user: &User) -> Vec<String> {
    let queried = dynamodb(
        "Query",
        json!({
            "TableName": table(), "KeyConditionExpression": "userId = :user",
            "ExpressionAttributeValues": { ":user": { "S": user.id } },
        }),
    );
    let items = queried.await["Items"].as_array().expect("items").clone();
    items.iter().map(|item| item["connection"]["S"].as_str().expect("a key").to_owned()).collect()
}

fn connection_id(row: &str) -> &str {
    row.split_once('#').expect("a time and an id").1
}

/// Makes a connection fail on demand.
async fn set_faults(row: &str, faults: Value) {
    let url =
        format!("{}/faults/{}", stack().live().replacen("ws", "http", 1).trim_end_matches("/v1"), connection_id(row));
    let set = signed(Client::new().put(url), &access_key()).json(&faults).send().await;
    assert_eq!(set.expect("it responds").status(), 204);
}

#[tokio::test]
async fn changes_of_every_resource_reach_all_connections_of_the_user() {
    let ada = User::sign_up("Ada");
    for sample in Sample::all() {
        let mut sockets = [connect(&ada).await, connect(&ada).await];
        let created = ada.create(&sample).await.body;
        let item = sample.item(created["id"].as_str().expect("an id"));
        for socket in &mut sockets {
            socket.receives(&change(&sample, &created["id"], &created["version"])).await;
        }
        let updated = ada.patch(&item, &sample.update).await.body;
        assert_ne!(updated["version"], created["version"]);
        for socket in &mut sockets {
            socket.receives(&change(&sample, &updated["id"], &updated["version"])).await;
        }
        assert_eq!(ada.delete(&item).await.status, 204);
        for socket in &mut sockets {
            socket.receives(&change(&sample, &created["id"], &Value::Null)).await;
        }
    }
}

#[tokio::test]
async fn changes_of_the_profile_reach_the_user() {
    let ada = User::sign_up("Ada");
    let mut socket = connect(&ada).await;
    change_profile(&ada, &mut socket).await;
}

/// Changes a profile and waits for the message. What the sign-up announces comes before it.
async fn change_profile(user: &User, socket: &mut Socket) {
    stack().local(&["user", "update", "--id", &user.id, "--first-name", "Augusta"]);
    let profile = user.get("/profile").await.body;
    socket.receives(&json!({ "of": "profile", "version": profile["updatedAt"] })).await;
}

#[tokio::test]
async fn other_users_receive_nothing_of_a_thousand_changes() {
    let (ada, eve) = (User::sign_up("Ada"), User::sign_up("Eve"));
    let (mut of_ada, mut of_eve) = (connect(&ada).await, connect(&eve).await);
    change_profile(&eve, &mut of_eve).await;
    let sample = Sample::first();
    let writing = join_all((0..10).map(async |_| {
        for _ in 0..50 {
            let created = ada.create(&sample).await.body;
            let item = sample.item(created["id"].as_str().expect("an id"));
            assert_eq!(ada.delete(&item).await.status, 204);
        }
    }));
    let mut received = 0;
    let reading = async {
        // Changes of one item that are read together are one.
        while received < 500 {
            received += of_ada.changes().await.len();
        }
    };
    tokio::join!(writing, reading);
    let last = create(&ada, &sample).await;
    of_ada.receives(&last).await;
    let own = create(&eve, &sample).await;
    assert_eq!(of_eve.changes().await, [own], "the first message is of the user's own change");
}

#[tokio::test]
async fn changes_are_announced_at_once() {
    let ada = User::sign_up("Ada");
    let mut socket = connect(&ada).await;
    let mut delays = Vec::new();
    for _ in 0..21 {
        let created = create(&ada, &Sample::first()).await;
        let written = Instant::now();
        socket.receives(&created).await;
        delays.push(written.elapsed());
    }
    delays.sort_unstable();
    // With only polling, half of them would take half a second.
    assert!(delays[10] < Duration::from_millis(250), "{delays:?}");
}

#[tokio::test]
async fn connections_without_a_valid_token_are_refused() {
    let ada = User::sign_up("Ada");
    let token = ada.token();
    let secrets = std::fs::read(stack().data().join("clerk-secrets.json")).expect("the stack has written it");
    let secrets: Value = serde_json::from_slice(&secrets).expect("JSON");
    let key = SigningKey::load(&serde_json::from_value(secrets["key"].clone()).expect("a key")).expect("a key");
    let sign =
        |key: &SigningKey, at| key.session_token(stack().clerk(), &ada.id, "sess_1", at, &json!({})).expect("signed");
    assert!(open(&sign(&key, now())).await.is_ok(), "the key is the stack's");
    let expired = sign(&key, now() - 600);
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
    let cases = [
        "live.v1".to_owned(),
        "live.v1, bearer.".to_owned(),
        "live.v1, bearer.nonsense".to_owned(),
        format!("live.v1, bearer.{forged}"),
        format!("live.v1, bearer.{expired}"),
        format!("bearer.{token}"),
        format!("live.v2, bearer.{token}"),
        format!("live.v1, {token}"),
        format!("live.v1, bearer.{token}, bearer.{token}"),
        format!("live.v1, graphql, bearer.{token}"),
    ];
    for protocols in cases {
        let opened = offer(&protocols).await;
        assert_eq!(opened.err(), Some(401), "{protocols}");
    }
    let elsewhere = [
        (format!("?token={token}"), "user-agent", "test".to_owned()),
        (format!("?bearer.{token}"), "user-agent", "test".to_owned()),
        (String::new(), "authorization", format!("Bearer {token}")),
        (String::new(), "cookie", format!("__session={token}")),
    ];
    for (query, name, value) in elsewhere {
        let protocol = ("sec-websocket-protocol", "live.v1".to_owned());
        assert_eq!(
            Socket::connect(&format!("{}{query}", stack().live()), &[protocol, (name, value)]).await.err(),
            Some(401),
            "{query} {name}"
        );
    }
    assert_eq!(Socket::connect(stack().live(), &[]).await.err(), Some(401));
    offer(&format!("bearer.{token}, live.v1")).await.expect("in either order");
}

#[tokio::test]
async fn connections_of_ended_sessions_and_accounts_are_refused() {
    for end in ["sign-out", "ban", "delete"] {
        let ada = User::sign_up("Ada");
        let session = stack().local(&["sign-in", "--user", &ada.id]);
        let token = token_of(&session).await;
        match end {
            "sign-out" => stack().local(&["sign-out", "--session", &session]),
            _ => stack().local(&["user", end, "--id", &ada.id]),
        };
        assert_eq!(open(&token).await.err(), Some(401), "{end}");
        assert_eq!(rows(&ada).await, [""; 0], "{end}: a refused connection is not stored");
    }
}

#[tokio::test]
async fn signing_out_closes_the_connections_of_that_session() {
    let ada = User::sign_up("Ada");
    let [ended, other] = [(); 2].map(|()| stack().local(&["sign-in", "--user", &ada.id]));
    let (of_ended, of_other) = (token_of(&ended).await, token_of(&other).await);
    let mut closing = join_all([open(&of_ended), open(&of_ended)]).await;
    let mut staying = open(&of_other).await.expect("it opens");
    stack().local(&["sign-out", "--session", &ended]);
    for socket in &mut closing {
        socket.as_mut().expect("it opens").closes().await;
    }
    let created = create(&ada, &Sample::first()).await;
    staying.receives(&created).await;
    assert_eq!(rows(&ada).await.len(), 1);
}

#[tokio::test]
async fn bans_and_deletions_close_all_connections() {
    for end in ["ban", "delete"] {
        let ada = User::sign_up("Ada");
        let sessions = [(); 2].map(|()| stack().local(&["sign-in", "--user", &ada.id]));
        let mut sockets = Vec::new();
        for session in sessions {
            sockets.push(open(&token_of(&session).await).await.expect("it opens"));
        }
        stack().local(&["user", end, "--id", &ada.id]);
        for socket in &mut sockets {
            socket.closes().await;
        }
    }
}

/// Batches of a stream follow one another, so the message of a second change proves that the first is processed.
async fn two_changes(user: &User, socket: &mut Socket) {
    for _ in 0..2 {
        let created = create(user, &Sample::first()).await;
        socket.receives(&created).await;
    }
}

#[tokio::test]
async fn closed_connections_are_forgotten_unless_they_may_be_opening() {
    let ada = User::sign_up("Ada");
    let mut socket = connect(&ada).await;
    let [open] = <[String; 1]>::try_from(rows(&ada).await).expect("one connection");
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let [young, old] = [0, 11_000].map(|age| format!("{:013}#gone{age}", now - age));
    for row in [&young, &old] {
        let item = json!({
            "userId": { "S": ada.id }, "connection": { "S": row }, "sessionId": { "S": "sess_1" },
            "expiresAt": { "N": (now / 1000 + 3600).to_string() },
        });
        dynamodb("PutItem", json!({ "TableName": table(), "Item": item })).await;
    }
    two_changes(&ada, &mut socket).await;
    let left = rows(&ada).await;
    assert!(left.contains(&open) && left.contains(&young) && !left.contains(&old), "{old} in {left:?}");
}

#[tokio::test]
async fn connections_that_cannot_be_sent_to_are_closed() {
    let ada = User::sign_up("Ada");
    let mut healthy = connect(&ada).await;
    let [row_of_healthy] = <[String; 1]>::try_from(rows(&ada).await).expect("one connection");
    for fault in ["throttled", "failed", "timeout"] {
        let mut failing = connect(&ada).await;
        let rows_before = rows(&ada).await;
        let row = rows_before.iter().find(|row| **row != row_of_healthy).expect("it is stored");
        set_faults(row, json!({ "post": fault })).await;
        let created = create(&ada, &Sample::first()).await;
        healthy.receives(&created).await;
        failing.closes().await;
        two_changes(&ada, &mut healthy).await;
        assert_eq!(rows(&ada).await, std::slice::from_ref(&row_of_healthy), "{fault}");
    }
}

#[tokio::test]
async fn changes_are_sent_again_if_a_connection_cannot_be_closed_either() {
    let ada = User::sign_up("Ada");
    let mut failing = connect(&ada).await;
    change_profile(&ada, &mut failing).await;
    let [row] = <[String; 1]>::try_from(rows(&ada).await).expect("one connection");
    let mut healthy = connect(&ada).await;
    set_faults(&row, json!({ "post": "failed", "delete": "failed" })).await;
    let created = create(&ada, &Sample::first()).await;
    healthy.receives(&created).await;
    healthy.receives(&created).await;
    set_faults(&row, json!({})).await;
    // A retry in progress closes it. The next one sends to it.
    match failing.message().await {
        Message::Text(text) => assert_eq!(changes(&text), [created]),
        message => assert!(matches!(message, Message::Close(_)), "{message:?}"),
    }
}
