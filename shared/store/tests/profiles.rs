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
use store::{Error, Profile, Profiles, UpsertOutcome, WriteSession};
use support::{Fixture, details, erase, event, identity, identity_at, now_ms};

fn profiles(fixture: &Fixture) -> Profiles {
    Profiles::new(&fixture.database, "UsersTable".to_owned())
}

/// Delivers an event. Returns whether it changed anything.
async fn deliver(profiles: &Profiles, body: &Value) -> bool {
    match event(body) {
        Event::UserChanged(user) => profiles.apply_user(&user).await.expect("written"),
        Event::UserDeleted(user) => profiles.apply_deletion(&user).await.expect("written"),
        event => panic!("{event:?} is not about a user"),
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

#[tokio::test]
async fn a_snapshot_becomes_the_profile() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    assert_eq!(fixture.profile("user_ada").await, None);
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
    assert_eq!(fixture.profile("user_ada").await, Some(expected));
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
    let expected = fixture.profile("user_ada").await.expect("there");
    assert_eq!((expected.first_name.as_deref(), expected.is_active, expected.updated_at), (None, false, 4000));

    for order in permutations(events.len()) {
        let fixture = Fixture::new().await;
        let profiles = profiles(&fixture);
        for index in order.iter().chain(&order) {
            deliver(&profiles, &events[*index]).await;
        }
        assert_eq!(fixture.profile("user_ada").await.as_ref(), Some(&expected), "{order:?}");
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
async fn bans_follow_clerk() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    for (event, active) in [(banned(true, 2000), false), (banned(false, 3000), true), (banned(true, 2500), true)] {
        deliver(&profiles, &event).await;
        assert_eq!(fixture.profile("user_ada").await.expect("there").is_active, active, "{event}");
    }
}

/// A ban and an unban at the same `updated_at`, the second announced later.
fn tie(first_banned: bool) -> [Value; 2] {
    [(first_banned, 5000), (!first_banned, 5500)].map(|(is_banned, announced_at)| {
        let mut event = banned(is_banned, 5000);
        event["timestamp"] = announced_at.into();
        event
    })
}

#[tokio::test]
async fn snapshots_with_equal_updated_at_are_ordered_by_announcement() {
    for first_banned in [true, false] {
        let events = tie(first_banned);
        for order in [[0, 1], [1, 0]] {
            let fixture = Fixture::new().await;
            let profiles = profiles(&fixture);
            for index in order.iter().chain(&order) {
                deliver(&profiles, &events[*index]).await;
            }
            assert_eq!(fixture.profile("user_ada").await.expect("there").is_active, first_banned, "{order:?}");
        }
    }
}

#[tokio::test]
async fn a_version_of_an_earlier_release_yields_to_an_event_of_the_same_time() {
    // '_' sorts above every digit, '-' below.
    for fingerprint in ["____", "----", "0000"] {
        let fixture = Fixture::new().await;
        let profiles = profiles(&fixture);
        let old = json!({
            "userId": "user_ada", "isActive": true, "banned": true, "createdAt": 1000, "firstName": "Ada",
            "clerkVersion": format!("{:020}-{fingerprint}", 5000),
        });
        fixture.put("UsersTable", old).await;
        assert!(!deliver(&profiles, &banned(false, 4999)).await, "{fingerprint}");
        assert!(deliver(&profiles, &tie(true)[1]).await, "{fingerprint}");
        assert!(fixture.profile("user_ada").await.expect("there").is_active, "{fingerprint}");
        assert!(!deliver(&profiles, &tie(true)[0]).await, "{fingerprint}");
        assert!(deliver(&profiles, &banned(true, 5001)).await, "{fingerprint}");
    }
}

#[tokio::test]
async fn a_snapshot_announced_again_repairs_a_damaged_profile() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let mut event = user("user.updated", Some("Ada"), 5000);
    for (announced_at, changed) in [(6000, true), (7000, false)] {
        event["timestamp"] = announced_at.into();
        assert_eq!(deliver(&profiles, &event).await, changed, "the same content is not a change");
    }
    let mut item = fixture.items("UsersTable").await.remove(0);
    item["firstName"] = "damaged".into();
    item.as_object_mut().expect("an item").remove("imageUrl");
    fixture.put("UsersTable", item).await;
    event["timestamp"] = 8000.into();
    assert!(deliver(&profiles, &event).await);
    let repaired = fixture.profile("user_ada").await.expect("there");
    assert_eq!(repaired.first_name.as_deref(), Some("Ada"));
    assert_eq!(repaired.image_url.as_deref(), Some("https://img.example/a"));
}

#[tokio::test]
async fn a_deletion_is_stored_with_the_time_of_its_first_receipt() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let before = now_ms();
    assert!(deliver(&profiles, &deletion(4000)).await);
    let stored = async || fixture.items("UsersTable").await.remove(0);
    let first = stored().await;
    let received_at = first["deletionReceivedAt"].as_u64().expect("a time");
    assert!((before..=now_ms()).contains(&received_at) && first["deletedAt"] == 4000, "{first}");
    assert!(deliver(&profiles, &deletion(3000)).await);
    assert_eq!(stored().await["deletionReceivedAt"], first["deletionReceivedAt"]);
}

#[tokio::test]
async fn redelivery_changes_nothing() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    for event in [user("user.created", Some("Ada"), 1000), deletion(4000)] {
        assert!(deliver(&profiles, &event).await);
        let before = fixture.profile("user_ada").await;
        assert!(!deliver(&profiles, &event).await);
        assert_eq!(fixture.profile("user_ada").await, before);
    }
}

#[tokio::test]
async fn user_supplied_values_are_shown_until_clerk_reports() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let ada = fixture.write_session("user_ada").await;

    let first =
        profiles.update(&ada, &details(&json!({ "email": "a@example.com", "firstName": "A" }))).await.expect("written");
    let UpsertOutcome::Created(first) = first else { panic!("it is new") };
    assert_eq!((first.email.as_deref(), first.first_name.as_deref()), (Some("a@example.com"), Some("A")));
    let second =
        profiles.update(&ada, &details(&json!({ "firstName": "Ada", "lastName": null }))).await.expect("written");
    let UpsertOutcome::Updated(second) = second else { panic!("it is known") };
    assert_eq!((second.email.as_deref(), second.first_name.as_deref()), (Some("a@example.com"), Some("Ada")));
    assert_eq!(second.created_at, first.created_at);

    // A snapshot takes precedence, even if the user-supplied values are newer.
    assert!(deliver(&profiles, &user("user.created", None, 1000)).await);
    let clerks = fixture.profile("user_ada").await.expect("there");
    assert_eq!((clerks.email.as_deref(), clerks.first_name.as_deref()), (Some("ada@example.com"), None));
    let kept = profiles
        .update(&ada, &details(&json!({ "email": "eve@example.com", "firstName": "Eve" })))
        .await
        .expect("written");
    let UpsertOutcome::Updated(kept) = kept else { panic!("it is known") };
    assert_eq!(kept, clerks, "user-supplied values are not shown");
    assert_eq!(fixture.profile("user_ada").await, Some(clerks));
}

#[tokio::test]
async fn a_deleted_user_is_not_restored() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    // The session is checked before the webhook arrives.
    let ada = fixture.write_session("user_ada").await;
    assert!(deliver(&profiles, &deletion(4000)).await);
    let put = profiles.update(&ada, &details(&json!({ "firstName": "Ada" }))).await;
    let UpsertOutcome::Updated(profile) = put.expect("written") else { panic!("the deletion is stored") };
    assert!(!profile.is_active);
    assert!(matches!(fixture.accounts().write_session(identity("user_ada").await).await, Err(Error::AccountInactive)));
}

#[tokio::test]
async fn erased_details_are_not_restored() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    // Both sessions are checked before the deletion arrives: one with claims in its token and one without.
    let claims = json!({ "email": "ada@example.com", "firstName": "Ada" });
    let with_claims = fixture
        .accounts()
        .write_session(identity_at("user_ada", 9000, claims).await)
        .await
        .expect("the session is valid");
    let without = fixture.write_session("user_ada").await;
    assert!(deliver(&profiles, &user("user.created", Some("Ada"), 1000)).await);
    assert!(deliver(&profiles, &deletion(4000)).await);
    erase(&fixture, "user_ada").await;
    let bare = fixture.profile("user_ada").await.expect("the tombstone stays");
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
    let supplied = details(&json!({ "lastName": "Lovelace", "imageUrl": "https://img.example/a" }));
    for session in [&with_claims, &without] {
        let rejected = profiles.update(session, &supplied).await;
        assert!(matches!(rejected, Err(Error::AccountInactive)), "{rejected:?}");
    }
    assert_eq!(fixture.profile("user_ada").await, Some(bare));
}

#[tokio::test]
async fn the_newest_clerk_verified_value_wins() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let at = async |seconds, name: &str| {
        let claims = json!({ "firstName": name, "email": "token@example.com" });
        fixture
            .accounts()
            .write_session(identity_at("user_ada", seconds, claims).await)
            .await
            .expect("the session is valid")
    };
    let put = async |session: &WriteSession| match profiles.update(session, &details(&json!({}))).await {
        Ok(UpsertOutcome::Created(profile) | UpsertOutcome::Updated(profile)) => profile,
        Err(error) => panic!("{error}"),
    };
    // Snapshots have milliseconds, tokens seconds.
    assert!(deliver(&profiles, &user("user.created", Some("snapshot of 1000"), 1_000_000)).await);
    let older = put(&at(999, "token of 999").await).await;
    assert_eq!(older.first_name.as_deref(), Some("snapshot of 1000"));
    let newer = put(&at(1001, "token of 1001").await).await;
    assert_eq!(newer.first_name.as_deref(), Some("token of 1001"));
    assert_eq!(newer.email.as_deref(), Some("token@example.com"));
    assert_eq!(newer.image_url.as_deref(), Some("https://img.example/a"), "tokens have no picture");
    assert_eq!(newer.updated_at, 1_001_000);
    // An older token, used later.
    assert_eq!(put(&at(1000, "token of 1000").await).await.first_name.as_deref(), Some("token of 1001"));
    assert!(deliver(&profiles, &user("user.updated", Some("snapshot of 1002"), 1_002_000)).await);
    assert_eq!(fixture.profile("user_ada").await.expect("there").first_name.as_deref(), Some("snapshot of 1002"));
}

#[tokio::test]
async fn user_supplied_values_must_match_the_token() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    let claims = json!({ "email": "ada@example.com", "firstName": "Ada" });
    let ada = identity_at("user_ada", 1000, claims).await;
    let ada = fixture.accounts().write_session(ada).await.expect("the session is valid");
    for (body, member) in [
        (json!({ "email": "eve@example.com" }), "email"),
        (json!({ "email": "ada@example.com", "firstName": "Eve" }), "firstName"),
    ] {
        let rejected = profiles.update(&ada, &details(&body)).await;
        assert!(matches!(rejected, Err(Error::ClaimMismatch(named)) if named == member), "{rejected:?}");
    }
    assert_eq!(fixture.profile("user_ada").await, None, "a rejected update writes nothing");
    let supplied = details(&json!({ "email": "ada@example.com", "lastName": "Lovelace" }));
    let UpsertOutcome::Created(created) = profiles.update(&ada, &supplied).await.expect("written") else {
        panic!("it is new")
    };
    assert_eq!((created.first_name.as_deref(), created.last_name.as_deref()), (Some("Ada"), Some("Lovelace")));
}

/// The profile of a new account with these values from one source.
async fn shown(source: &str, [email, name, image_url]: [&str; 3]) -> [Option<String>; 3] {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    match source {
        "webhook" => {
            let mut event = user("user.updated", Some(name), 1000);
            event["data"]["email_addresses"][0]["email_address"] = email.into();
            event["data"]["image_url"] = image_url.into();
            assert!(deliver(&profiles, &event).await);
        }
        "token" => {
            let claims = json!({ "email": email, "firstName": name });
            let ada = fixture
                .accounts()
                .write_session(identity_at("user_ada", 1000, claims).await)
                .await
                .expect("the session is valid");
            profiles.update(&ada, &details(&json!({ "imageUrl": image_url }))).await.expect("written");
        }
        "user" => {
            let supplied = details(&json!({ "email": email, "firstName": name, "imageUrl": image_url }));
            let ada = fixture.write_session("user_ada").await;
            profiles.update(&ada, &supplied).await.expect("written");
        }
        // Written by an earlier release.
        _ => {
            let item = json!({
                "userId": "user_ada", "email": email, "firstName": name, "imageUrl": image_url,
                "clerkVersion": format!("{:020}-fingerprint", 1000),
            });
            fixture.put("UsersTable", item).await;
        }
    }
    let Profile { email, first_name, image_url, .. } = fixture.profile("user_ada").await.expect("there");
    [email, first_name, image_url]
}

#[tokio::test]
async fn every_sources_values_are_shown_in_one_form() {
    let cases = [
        (["", "", ""], [None, None, None]),
        ([" \t", "\u{a0}\u{200d}", "\n"], [None, None, None]),
        (
            [" ada@example.com\n", " Ada ", "https://x.example/\"onerror=\"alert(1)//"],
            [Some("ada@example.com"), Some("Ada"), Some("https://x.example/%22onerror=%22alert(1)//")],
        ),
        (["a@b", "👩‍🚀", "HTTPS://X.example:443\\a\nb"], [Some("a@b"), Some("👩‍🚀"), Some("https://x.example/ab")]),
    ];
    for (values, expected) in cases {
        for source in ["webhook", "token", "user", "stored"] {
            assert_eq!(
                shown(source, values).await,
                expected.map(|value| value.map(str::to_owned)),
                "{source}: {values:?}"
            );
        }
    }
}

#[tokio::test]
async fn unsafe_values_of_clerk_are_sanitized_or_dropped() {
    let long = "n".repeat(500_000);
    for (values, expected) in [
        (
            ["ada\u{202e}@example.com", "\u{202e}A\u{0}da\nL\u{200b}", "javascript:alert(1)"],
            [None, Some("Ada L"), None],
        ),
        (["nonsense", "\u{3164}", "http://img.example/a"], [None, None, None]),
        (["a b@example.com", "A\u{2028}B", "data:image/png;base64,"], [None, Some("A B"), None]),
        ([&long, &long, &format!("https://img.example/{long}")], [None, Some(&long[..200]), None]),
    ] {
        // A snapshot that cannot be written would lose its ban.
        assert_eq!(shown("webhook", values).await, expected.map(|value| value.map(str::to_owned)));
    }
}

#[tokio::test]
async fn blank_claims_are_missing() {
    let fixture = Fixture::new().await;
    let profiles = profiles(&fixture);
    assert!(deliver(&profiles, &user("user.created", Some("Ada"), 1_000_000)).await);
    let claims = json!({ "email": " ada@example.com ", "firstName": "", "lastName": " " });
    let ada = fixture
        .accounts()
        .write_session(identity_at("user_ada", 1001, claims).await)
        .await
        .expect("the session is valid");
    let supplied = details(&json!({ "email": "ada@example.com", "firstName": "Augusta", "lastName": "Lovelace" }));
    let put = profiles.update(&ada, &supplied).await;
    let UpsertOutcome::Updated(profile) = put.expect("they match") else { panic!("it is known") };
    assert_eq!((profile.email.as_deref(), profile.first_name.as_deref()), (Some("ada@example.com"), Some("Ada")));
}
