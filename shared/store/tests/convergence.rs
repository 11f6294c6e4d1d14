//! Whatever the order in which events arrive, however often, and whatever is lost on the way and sent again: the state
//! is that of the history in order. And whatever arrives after an erasure: the state is that of the deletions alone.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use clerk_auth::Event;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use store::{Details, Error, Profile, Profiles};
use support::{Fixture, erase, event, identity_at};
use tokio::task::JoinSet;

const USERS: [&str; 2] = ["user_ada", "user_eve"];
const SESSIONS: [&str; 2] = ["sess_1", "sess_2"];

/// Something that happened to a user, as it is announced here.
#[derive(Clone, Debug)]
enum Happening {
    /// One of Clerk's webhooks.
    Webhook(Value),
    /// The client brings the profile up to date with a token of that time, in seconds, that says so.
    Sync { user: &'static str, seconds: u64, claims: Value },
}

/// Few times and few names, so that many happen at once and many are the same.
fn happening() -> impl Strategy<Value = Happening> {
    let user = prop::sample::select(&USERS[..]);
    let seconds = 1000..1005_u64;
    let name = prop::sample::select(vec![json!("Ada"), json!("Eve"), json!(null)]);
    let snapshot = (user.clone(), seconds.clone(), name.clone(), any::<bool>(), any::<bool>()).prop_map(
        |(user, seconds, name, banned, created)| {
            let data = json!({
                "id": user, "first_name": name, "banned": banned, "created_at": 1_000_000, "updated_at": seconds * 1000,
            });
            Happening::Webhook(json!({ "type": if created { "user.created" } else { "user.updated" }, "data": data }))
        },
    );
    let deletion = (user.clone(), seconds.clone()).prop_map(|(user, seconds)| {
        Happening::Webhook(json!({ "type": "user.deleted", "timestamp": seconds * 1000, "data": { "id": user } }))
    });
    let kind = prop::sample::select(vec!["session.ended", "session.removed", "session.revoked"]);
    let session = (user.clone(), prop::sample::select(&SESSIONS[..]), kind, seconds.clone()).prop_map(
        |(user, session, kind, seconds)| {
            let data = json!({ "id": session, "user_id": user, "updated_at": seconds * 1000 });
            Happening::Webhook(json!({ "type": kind, "data": data }))
        },
    );
    let sync = (user, seconds, name).prop_map(|(user, seconds, name)| Happening::Sync {
        user,
        seconds,
        claims: json!({ "firstName": name, "lastName": "L" }),
    });
    prop_oneof![4 => snapshot, 1 => deletion, 1 => session, 3 => sync]
}

impl Happening {
    /// Whether it deletes the first of the users.
    fn is_deletion(&self) -> bool {
        matches!(self, Self::Webhook(body) if body["type"] == "user.deleted" && body["data"]["id"] == USERS[0])
    }
}

async fn apply(fixture: &Fixture, happening: &Happening) {
    let profiles = Profiles::new(&fixture.database, "UsersTable".to_owned());
    let accounts = fixture.accounts();
    match happening {
        Happening::Webhook(body) => match event(body) {
            Event::UserChanged(user) => drop(profiles.apply_user(&user).await.expect("written")),
            Event::UserDeleted(user) => drop(profiles.apply_deletion(&user).await.expect("written")),
            Event::SessionEnded(session) => drop(accounts.apply_end(&session).await.expect("written")),
            event => panic!("{event:?} is of no concern"),
        },
        Happening::Sync { user, seconds, claims } => {
            // Authorized before anything else of the history had arrived: the worst case, a call that takes long.
            let empty = Fixture::new().await;
            let author = empty.accounts().authorize(identity_at(user, *seconds, claims.clone()).await).await;
            let author = author.expect("nothing is known of anybody");
            match profiles.of_author(&author).put(&Details::default()).await {
                Ok(_) | Err(Error::AccountInactive) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// All that can be seen of the state: profiles, and who may come in. Times at which this ran are no part of it.
async fn state(fixture: &Fixture) -> Vec<(Option<Profile>, &'static str)> {
    let profiles = Profiles::new(&fixture.database, "UsersTable".to_owned());
    let mut state = Vec::new();
    for user in USERS {
        let identity = identity_at(user, 1000, json!({})).await;
        let profile = profiles.of(&identity).get().await.expect("read").map(|mut profile| {
            // Until Clerk has told, these are of the caller's own writes.
            let callers = |time: u64| if time > 1_000_000_000 { 0 } else { time };
            profile.created_at = callers(profile.created_at);
            profile.updated_at = callers(profile.updated_at);
            profile
        });
        let access = match fixture.accounts().authorize(identity).await {
            Ok(_) => "good",
            Err(Error::AccountInactive) => "inactive",
            Err(Error::SessionEnded) => "session ended",
            Err(error) => panic!("{error}"),
        };
        state.push((profile, access));
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_delivery_of_a_history_ends_in_the_same_state(
        history in prop::collection::vec(happening(), 1..12),
        order in prop::collection::vec(any::<Index>(), 24),
        lost in prop::collection::vec(any::<bool>(), 24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let in_order = Fixture::new().await;
            for happening in &history {
                apply(&in_order, happening).await;
            }
            let expected = state(&in_order).await;

            let any_order = std::sync::Arc::new(Fixture::new().await);
            let mut deliveries = JoinSet::new();
            // In any order, some twice and some not at all, all at the same time.
            for (index, lost) in order.iter().zip(&lost) {
                let (fixture, happening) = (std::sync::Arc::clone(&any_order), index.get(&history).clone());
                if !lost {
                    deliveries.spawn(async move { apply(&fixture, &happening).await });
                }
            }
            while let Some(delivered) = deliveries.join_next().await {
                delivered.expect("it ends");
            }
            // What was lost is sent again, and so is what was not, the last first.
            for happening in history.iter().rev() {
                apply(&any_order, happening).await;
            }
            prop_assert_eq!(state(&any_order).await, expected);
            Ok(())
        })?;
    }

    #[test]
    fn what_was_erased_leaves_the_deletion_alone_whatever_still_arrives(
        history in prop::collection::vec(happening(), 1..12),
        before in prop::collection::vec(any::<Index>(), 12),
        after in prop::collection::vec(any::<Index>(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let deletion = json!({ "type": "user.deleted", "timestamp": 1_003_000, "data": { "id": USERS[0] } });
            let deletion = Happening::Webhook(deletion);
            let (alone, all) = (Fixture::new().await, Fixture::new().await);
            apply(&alone, &deletion).await;
            for happening in &history {
                apply(&all, happening).await;
                if happening.is_deletion() {
                    apply(&alone, happening).await;
                }
            }
            let [(bare, _), _] = <[_; 2]>::try_from(state(&alone).await).expect("two users");
            let [_, other] = <[_; 2]>::try_from(state(&all).await).expect("two users");

            let erased = std::sync::Arc::new(Fixture::new().await);
            for index in &before {
                apply(&erased, index.get(&history)).await;
            }
            apply(&erased, &deletion).await;
            erase(&erased, USERS[0]).await;
            let mut deliveries = JoinSet::new();
            for happening in after.iter().map(|index| index.get(&history)).chain(&history) {
                let (fixture, happening) = (std::sync::Arc::clone(&erased), happening.clone());
                deliveries.spawn(async move { apply(&fixture, &happening).await });
            }
            while let Some(delivered) = deliveries.join_next().await {
                delivered.expect("it ends");
            }
            prop_assert_eq!(state(&erased).await, [(bare, "inactive"), other]);
            Ok(())
        })?;
    }
}
