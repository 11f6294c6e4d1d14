//! The table of profiles, on a real engine.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use clerk_auth::Event;
use serde_json::{Value, json};
use store::{Authorized, Details, Error, Profile, Profiles, Put};
use support::{Fixture, erase, event, identity, identity_at};

fn profiles(fixture: &Fixture) -> Profiles {
    Profiles::new(&fixture.database, "UsersTable".to_owned())
}

/// Delivers an event. Says whether it changed anything.
async fn deliver(profiles: &Profiles, body: &Value) -> bool {
    match event(body) {
        Event::UserChanged(user) => profiles.apply_user(&user).await.expect("written"),
        Event::UserDeleted(user) => profiles.apply_deletion(&user).await.expect("written"),
        event => panic!("{event:?} is no event about a user"),
    }
}

fn user(kind: &str, name: Option<&str>, updated_at: u64) -> Value {
    json!({
        "type": kind,
        "data": {
            "id": "user_ada", "first_name": name, "last_name": null, "image_url": "https://img.example/a",
            "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "email_address": "ada@example.com" }],
            "created_at": 1000, "updated_at": updated_at,
        },
    })
}

fn banned(banned: bool, updated_at: u64) -> Value {
    let mut event = user("user.updated", Some("Ada"), updated_at);
    event["data"]["banned"] = banned.into();
    event
}

fn deletion(at: u64) -> Value {
    json!({ "type": "user.deleted", "timestamp": at, "data": { "id": "user_ada", "deleted": true } })
}

async fn profile(profiles: &Profiles) -> Option<Profile> {
    profiles.of(&identity("user_ada").await).get().await.expect("read")
}

fn details(details: Value) -> Details {
    serde_json::from_value(details).expect("details")
}

#[tokio::test]
async fn a_snapshot_becomes_the_profile() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    assert_eq!(profile(&profiles).await, None);
    assert!(deliver(&profiles, &user("user.created", Some("Ada"), 1000)).await);
    let expected = Profile {
        id: "user_ada".to_owned(),
        email: Some("ada@example.com".to_owned()),
        first_name: Some("Ada".to_owned()),
        last_name: None,
        image_url: Some("https://img.example/a".to_owned()),
        created_at: 1000,
        updated_at: 1000,
        is_active: true,
    };
    assert_eq!(profile(&profiles).await, Some(expected));
}

#[tokio::test]
async fn any_order_and_any_repetition_of_events_leads_to_the_same_profile() {
    let events = [
        user("user.created", Some("Ada"), 1000),
        user("user.updated", Some("Augusta"), 2000),
        user("user.updated", None, 3000),
        deletion(4000),
    ];
    let fixture = Fixture::new().await;
    let in_order = profiles(&fixture);
    for event in &events {
        assert!(deliver(&in_order, event).await);
    }
    let expected = profile(&in_order).await.expect("there");
    assert_eq!((expected.first_name.as_deref(), expected.is_active, expected.updated_at), (None, false, 4000));

    for order in permutations(events.len()) {
        let fixture = Fixture::new().await;
        let profiles = profiles(&fixture);
        for index in order.iter().chain(&order) {
            deliver(&profiles, &events[*index]).await;
        }
        assert_eq!(profile(&profiles).await.as_ref(), Some(&expected), "{order:?}");
    }
}

fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1);
    let insert = |order: &Vec<usize>, place| {
        let mut order = order.clone();
        order.insert(place, length - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..length).map(move |place| insert(order, place))).collect()
}

#[tokio::test]
async fn a_ban_comes_and_goes_with_clerk() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    for (event, active) in [(banned(true, 2000), false), (banned(false, 3000), true), (banned(true, 2500), true)] {
        deliver(&profiles, &event).await;
        assert_eq!(profile(&profiles).await.expect("there").is_active, active, "{event}");
    }
}

#[tokio::test]
async fn redelivery_changes_nothing() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    for event in [user("user.created", Some("Ada"), 1000), deletion(4000)] {
        assert!(deliver(&profiles, &event).await);
        let before = profile(&profiles).await;
        assert!(!deliver(&profiles, &event).await);
        assert_eq!(profile(&profiles).await, before);
    }
}

#[tokio::test]
async fn the_callers_word_stands_until_clerk_speaks() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let ada = fixture.author("user_ada").await;
    let hers = profiles.of_author(&ada);

    let first = hers.put(&details(json!({ "email": "a@example.com", "firstName": "A" }))).await.expect("written");
    let Put::Created(first) = first else { panic!("it is new") };
    assert_eq!((first.email.as_deref(), first.first_name.as_deref()), (Some("a@example.com"), Some("A")));
    let second = hers.put(&details(json!({ "firstName": "Ada", "lastName": null }))).await.expect("written");
    let Put::Present(second) = second else { panic!("it is known") };
    assert_eq!((second.email.as_deref(), second.first_name.as_deref()), (Some("a@example.com"), Some("Ada")));
    assert_eq!(second.created_at, first.created_at);

    // A snapshot is the whole truth, older though it is than what the caller said.
    assert!(deliver(&profiles, &user("user.created", None, 1000)).await);
    let clerks = profile(&profiles).await.expect("there");
    assert_eq!((clerks.email.as_deref(), clerks.first_name.as_deref()), (Some("ada@example.com"), None));
    let kept = hers.put(&details(json!({ "email": "eve@example.com", "firstName": "Eve" }))).await.expect("answered");
    let Put::Present(kept) = kept else { panic!("it is known") };
    assert_eq!(kept, clerks, "it is no part of what is shown");
    assert_eq!(profile(&profiles).await, Some(clerks));
}

#[tokio::test]
async fn a_deleted_person_does_not_come_back() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    // Authorized a moment before the webhook landed.
    let ada = fixture.author("user_ada").await;
    assert!(deliver(&profiles, &deletion(4000)).await);
    let put = profiles.of_author(&ada).put(&details(json!({ "firstName": "Ada" }))).await;
    let Put::Present(profile) = put.expect("answered") else { panic!("a mark is there") };
    assert!(!profile.is_active);
    assert!(matches!(fixture.accounts().authorize(identity("user_ada").await).await, Err(Error::AccountInactive)));
}

#[tokio::test]
async fn what_was_erased_stays_erased_whatever_still_arrives() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    // Authorized before the deletion landed: one whose token says who she is, and one whose token does not.
    let claims = json!({ "email": "ada@example.com", "firstName": "Ada" });
    let with_claims = fixture.accounts().authorize(identity_at("user_ada", 9000, claims).await).await.expect("good");
    let without = fixture.author("user_ada").await;
    assert!(deliver(&profiles, &user("user.created", Some("Ada"), 1000)).await);
    assert!(deliver(&profiles, &deletion(4000)).await);
    erase(&fixture, "user_ada").await;
    let bare = profile(&profiles).await.expect("the tombstone stays");
    let Profile { email, first_name, last_name, image_url, created_at, updated_at, is_active, .. } = bare.clone();
    assert_eq!((email, first_name, last_name, image_url), (None, None, None, None));
    assert_eq!((created_at, updated_at, is_active), (4000, 4000, false));

    for event in [
        user("user.created", Some("Ada"), 1000),
        user("user.updated", Some("Augusta"), 5000),
        banned(false, 6000),
        deletion(4000),
        deletion(7000),
    ] {
        assert!(!deliver(&profiles, &event).await, "{event}");
    }
    let said = details(json!({ "lastName": "Lovelace", "imageUrl": "https://img.example/a" }));
    for author in [&with_claims, &without] {
        let refused = profiles.of_author(author).put(&said).await;
        assert!(matches!(refused, Err(Error::AccountInactive)), "{refused:?}");
    }
    assert_eq!(profile(&profiles).await, Some(bare));
}

#[test]
fn details_are_checked() {
    let good = [
        json!({}),
        json!({ "email": null }),
        json!({ "email": "ada@example.com", "firstName": " Ada ", "lastName": "Lovelace", "imageUrl": "https://img.example/a" }),
    ];
    for body in good {
        assert!(serde_json::from_value::<Details>(body.clone()).is_ok(), "{body}");
    }
    let bad = [
        json!({ "email": "" }),
        json!({ "email": "ada" }),
        json!({ "email": "@example.com" }),
        json!({ "email": "ada@" }),
        json!({ "email": "ada lovelace@example.com" }),
        json!({ "email": format!("{}@example.com", "a".repeat(250)) }),
        json!({ "email": 1 }),
        json!({ "firstName": "" }),
        json!({ "firstName": " " }),
        json!({ "lastName": "a\nb" }),
        json!({ "lastName": "a".repeat(201) }),
        json!({ "imageUrl": "javascript:alert(1)" }),
        json!({ "imageUrl": "http://img.example/a" }),
        json!({ "imageUrl": "a.png" }),
        json!({ "imageUrl": format!("https://img.example/{}", "a".repeat(2048)) }),
        json!({ "id": "user_eve" }),
        json!({ "isActive": true }),
    ];
    for body in bad {
        assert!(serde_json::from_value::<Details>(body.clone()).is_err(), "{body}");
    }
}

#[tokio::test]
async fn of_what_clerk_vouched_for_the_newest_wins_wherever_it_came_from() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let at = async |seconds, name: &str| {
        let claims = json!({ "firstName": name, "email": "token@example.com" });
        fixture.accounts().authorize(identity_at("user_ada", seconds, claims).await).await.expect("good")
    };
    let put = async |author: &Authorized| match profiles.of_author(author).put(&details(json!({}))).await {
        Ok(Put::Created(profile) | Put::Present(profile)) => profile,
        Err(error) => panic!("{error}"),
    };
    // Snapshots are dated in milliseconds, tokens in seconds.
    assert!(deliver(&profiles, &user("user.created", Some("snapshot of 1000"), 1_000_000)).await);
    let older = put(&at(999, "token of 999").await).await;
    assert_eq!(older.first_name.as_deref(), Some("snapshot of 1000"));
    let newer = put(&at(1001, "token of 1001").await).await;
    assert_eq!(newer.first_name.as_deref(), Some("token of 1001"));
    assert_eq!(newer.email.as_deref(), Some("token@example.com"));
    assert_eq!(newer.image_url.as_deref(), Some("https://img.example/a"), "a token says nothing of the picture");
    assert_eq!(newer.updated_at, 1_001_000);
    // A token that was issued before, used late.
    assert_eq!(put(&at(1000, "token of 1000").await).await.first_name.as_deref(), Some("token of 1001"));
    assert!(deliver(&profiles, &user("user.updated", Some("snapshot of 1002"), 1_002_000)).await);
    assert_eq!(profile(&profiles).await.expect("there").first_name.as_deref(), Some("snapshot of 1002"));
}

#[tokio::test]
async fn the_callers_word_must_not_contradict_the_token() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let claims = json!({ "email": "ada@example.com", "firstName": "Ada" });
    let ada = identity_at("user_ada", 1000, claims).await;
    let ada = fixture.accounts().authorize(ada).await.expect("good");
    let hers = profiles.of_author(&ada);
    for (body, member) in [
        (json!({ "email": "eve@example.com" }), "email"),
        (json!({ "email": "ada@example.com", "firstName": "Eve" }), "firstName"),
    ] {
        let refused = hers.put(&details(body)).await;
        assert!(matches!(refused, Err(Error::Contradicted(named)) if named == member), "{refused:?}");
    }
    assert_eq!(profile(&profiles).await, None, "a refusal writes nothing");
    let said = details(json!({ "email": "ada@example.com", "lastName": "Lovelace" }));
    let Put::Created(created) = hers.put(&said).await.expect("written") else { panic!("it is new") };
    assert_eq!((created.first_name.as_deref(), created.last_name.as_deref()), (Some("Ada"), Some("Lovelace")));
}
