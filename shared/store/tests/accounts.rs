//! The session check, on a real engine.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use clerk_auth::Event;
use serde_json::{Value, json};
use store::{Accounts, Error, Profiles};
use support::{Fixture, event, identity, now_ms, unreachable_database};

async fn deliver(fixture: &Fixture, body: Value) {
    let profiles = Profiles::new(&fixture.database, "UsersTable".to_owned());
    match event(&body) {
        Event::UserChanged(user) => drop(profiles.apply_user(&user).await.expect("written")),
        Event::UserDeleted(user) => drop(profiles.apply_deletion(&user).await.expect("written")),
        Event::SessionEnded(session) => {
            assert!(fixture.accounts().apply_end(&session).await.expect("written"), "it is new");
        }
        event => panic!("{event:?} is of no concern"),
    }
}

fn ended(kind: &str, user_id: &str, session_id: &str) -> Value {
    json!({ "type": kind, "data": { "id": session_id, "user_id": user_id, "status": "ended", "updated_at": 1000 } })
}

async fn outcome(fixture: &Fixture, user_id: &str) -> Result<(), Error> {
    fixture.accounts().write_session(identity(user_id).await).await.map(drop)
}

#[tokio::test]
async fn accounts_not_yet_reported_count_as_active() {
    let fixture = Fixture::new().await;
    assert!(outcome(&fixture, "user_ada").await.is_ok());
}

#[tokio::test]
async fn each_session_end_event_rejects_only_its_session() {
    for kind in ["session.ended", "session.removed", "session.revoked"] {
        let fixture = Fixture::new().await;
        deliver(&fixture, ended(kind, "user_ada", "sess_2")).await;
        assert!(outcome(&fixture, "user_ada").await.is_ok(), "her other session is still valid");
        deliver(&fixture, ended(kind, "user_ada", "sess_1")).await;
        assert!(matches!(outcome(&fixture, "user_ada").await, Err(Error::SessionEnded)), "{kind}");
        assert!(outcome(&fixture, "user_eve").await.is_ok(), "{kind}");
    }
}

#[tokio::test]
async fn late_events_end_sessions_for_longer_than_a_token_lives() {
    const HOUR: u64 = 60 * 60;
    let now = now_ms();
    for late in [0, 25 * HOUR, 10 * 24 * HOUR, now / 1000] {
        let fixture = Fixture::new().await;
        let mut event = ended("session.ended", "user_ada", "sess_1");
        event["data"]["updated_at"] = (now - late * 1000).into();
        deliver(&fixture, event).await;
        let [row] = fixture.items("SessionsTable").await.try_into().expect("one row");
        let remembered = row["expiresAt"].as_u64().expect("a time") - now / 1000;
        assert!((48 * HOUR..48 * HOUR + 60).contains(&remembered), "{late} s late: remembered for {remembered} s");
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(3), "ids and a time only: {row}");
        assert!(matches!(outcome(&fixture, "user_ada").await, Err(Error::SessionEnded)), "{late} s late");
    }
}

#[tokio::test]
async fn repeated_session_ends_prolong_and_never_shorten() {
    let fixture = Fixture::new().await;
    let expires_at = async || fixture.items("SessionsTable").await[0]["expiresAt"].as_u64().expect("a time");
    let row = |at: u64| json!({ "userId": "user_ada", "sessionId": "sess_1", "expiresAt": at });
    for (before, prolonged) in [(1, true), (now_ms(), false)] {
        fixture.put("SessionsTable", row(before)).await;
        let Event::SessionEnded(session) = event(&ended("session.removed", "user_ada", "sess_1")) else {
            panic!("a session ends")
        };
        assert!(!fixture.accounts().apply_end(&session).await.expect("written"), "it is not new");
        assert_eq!(expires_at().await > before, prolonged);
        assert!(expires_at().await >= before);
    }
}

#[tokio::test]
async fn deleted_and_banned_accounts_are_rejected() {
    let fixture = Fixture::new().await;
    let updated = |banned: bool, at: u64| json!({ "type": "user.updated", "data": { "id": "user_ada", "banned": banned, "updated_at": at } });
    deliver(&fixture, updated(false, 1000)).await;
    assert!(outcome(&fixture, "user_ada").await.is_ok());
    deliver(&fixture, updated(true, 2000)).await;
    assert!(matches!(outcome(&fixture, "user_ada").await, Err(Error::AccountInactive)));
    deliver(&fixture, updated(false, 3000)).await;
    assert!(outcome(&fixture, "user_ada").await.is_ok());
    deliver(&fixture, json!({ "type": "user.deleted", "timestamp": 4000, "data": { "id": "user_ada" } })).await;
    deliver(&fixture, updated(false, 5000)).await;
    assert!(matches!(outcome(&fixture, "user_ada").await, Err(Error::AccountInactive)), "a deletion is permanent");
}

#[tokio::test]
async fn check_fails_closed() {
    let ada = identity("user_ada").await;
    let accounts = Accounts::new(&unreachable_database(), "UsersTable".to_owned(), "SessionsTable".to_owned());
    assert!(matches!(accounts.write_session(ada.clone()).await, Err(Error::Unavailable(_))));
    let fixture = Fixture::new().await;
    let no_table = Accounts::new(&fixture.database, "UsersTable".to_owned(), "NoSuchTable".to_owned());
    assert!(matches!(no_table.write_session(ada).await, Err(Error::Internal(_))));
}
