//! Events can arrive in any order, repeatedly, concurrently and late: the state converges to that of the ordered history.
//! Events after an erasure do not restore details: the state is that of only the deletions.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use clerk_auth::Event;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{RngAlgorithm, TestCaseResult, TestRng, TestRunner},
};
use serde_json::{Value, json};
use store::{Error, Profile, ProfileUpdate, Profiles, WriteSession};
use support::{Fixture, erase, event, identity_at};
use tokio::{runtime::Runtime, task::JoinSet};
use torture::Campaign;

const USERS: [&str; 2] = ["user_ada", "user_eve"];
const SESSIONS: [&str; 2] = ["sess_1", "sess_2"];

/// An event of a user's history.
#[derive(Clone, Debug)]
enum Happening {
    /// One of Clerk's webhooks.
    Webhook(Value),
    /// The client updates the profile with a token with these claims, issued at `seconds`.
    Sync { user: &'static str, seconds: u64, claims: Value },
}

/// An event for the users of one case, which can be delivered repeatedly.
#[derive(Clone)]
enum Delivery {
    Webhook(Value),
    Sync(Arc<WriteSession>),
}

/// Few times and few names, so that many events have the same.
fn happening() -> impl Strategy<Value = Happening> {
    let user = prop::sample::select(&USERS[..]);
    let seconds = 1000..1005_u64;
    let name = prop::sample::select(vec![json!("Ada"), json!("Eve"), json!(null)]);
    let announced_at = 1_004_000..1_004_004_u64;
    let kind = prop::sample::select(vec!["user.created", "user.updated"]);
    let snapshot = (user.clone(), seconds.clone(), name.clone(), any::<bool>(), kind, announced_at).prop_map(
        |(user, seconds, name, banned, kind, announced_at)| {
            let data = json!({
                "id": user, "first_name": name, "banned": banned, "created_at": 1_000_000, "updated_at": seconds * 1000,
            });
            Happening::Webhook(json!({ "type": kind, "timestamp": announced_at, "data": data }))
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

/// Shared by all cases of a test, so that they need not wait for engines, connections and certificates. Each case has its
/// own users.
struct Worlds {
    runtime: Runtime,
    /// It gets no events.
    empty: Fixture,
    each: [Arc<Fixture>; 3],
    cases: AtomicUsize,
}

impl Worlds {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (empty, first, second, third) =
            runtime.block_on(async { tokio::join!(Fixture::new(), Fixture::new(), Fixture::new(), Fixture::new()) });
        Self { runtime, empty, each: [first, second, third].map(Arc::new), cases: AtomicUsize::new(0) }
    }

    fn next_case(&self) -> Case<'_> {
        Case { worlds: self, number: self.cases.fetch_add(1, Ordering::Relaxed) }
    }
}

struct Case<'a> {
    worlds: &'a Worlds,
    number: usize,
}

impl Case<'_> {
    fn user(&self, user: &str) -> String {
        format!("{user}_{}", self.number)
    }

    async fn prepare(&self, happening: &Happening) -> Delivery {
        match happening {
            Happening::Webhook(body) => {
                let mut body = body.clone();
                let member = if body["data"]["user_id"].is_null() { "id" } else { "user_id" };
                body["data"][member] = self.user(body["data"][member].as_str().expect("an id")).into();
                Delivery::Webhook(body)
            }
            Happening::Sync { user, seconds, claims } => {
                let identity = identity_at(&self.user(user), *seconds, claims.clone()).await;
                // The worst case, a slow call: its session is checked before any event arrives.
                let session = self.worlds.empty.accounts().write_session(identity).await;
                Delivery::Sync(Arc::new(session.expect("the session is valid")))
            }
        }
    }

    async fn prepare_all(&self, history: &[Happening]) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for happening in history {
            deliveries.push(self.prepare(happening).await);
        }
        deliveries
    }

    /// The visible state: profiles and outcomes of session checks, without the times of this test run.
    async fn state(&self, fixture: &Fixture) -> Vec<(Option<Profile>, &'static str)> {
        let mut state = Vec::new();
        for user in USERS {
            let identity = identity_at(&self.user(user), 1000, json!({})).await;
            let profile = fixture.profile(&self.user(user)).await.map(|mut profile| {
                // Until Clerk reports, these are the times of the user's own writes.
                let users_own = |time: u64| if time > 1_000_000_000 { 0 } else { time };
                profile.created_at = users_own(profile.created_at);
                profile.updated_at = users_own(profile.updated_at);
                profile
            });
            let access = match fixture.accounts().write_session(identity).await {
                Ok(_) => "active",
                Err(Error::AccountInactive) => "inactive",
                Err(Error::SessionEnded) => "session ended",
                Err(error) => panic!("{error}"),
            };
            state.push((profile, access));
        }
        state
    }
}

async fn apply(fixture: &Fixture, delivery: &Delivery) {
    let profiles = Profiles::new(&fixture.database, "UsersTable".to_owned());
    match delivery {
        Delivery::Webhook(body) => match event(body) {
            Event::UserChanged(user) => drop(profiles.apply_user(&user).await.expect("written")),
            Event::UserDeleted(user) => drop(profiles.apply_deletion(&user).await.expect("written")),
            Event::SessionEnded(session) => drop(fixture.accounts().apply_end(&session).await.expect("written")),
            event => panic!("{event:?} is not tested here"),
        },
        Delivery::Sync(session) => match profiles.update(session, &ProfileUpdate::default()).await {
            Ok(_) | Err(Error::AccountInactive) => {}
            Err(error) => panic!("{error}"),
        },
    }
}

/// Applies all concurrently.
async fn apply_at_once(fixture: &Arc<Fixture>, deliveries: impl IntoIterator<Item = Delivery>) {
    let mut tasks = JoinSet::new();
    for delivery in deliveries {
        let fixture = Arc::clone(fixture);
        tasks.spawn(async move { apply(&fixture, &delivery).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("it ends");
    }
}

/// Whether the user is active by Clerk's last event. None without events, or if the last ones contradict each other.
fn last_announced(history: &[Happening], user: &str) -> Option<bool> {
    let of_user = history.iter().filter_map(|happening| match happening {
        Happening::Webhook(body) if body["data"]["id"] == user => Some(body),
        _ => None,
    });
    let (deletions, snapshots): (Vec<_>, Vec<_>) = of_user.partition(|body| body["type"] == "user.deleted");
    if !deletions.is_empty() {
        return Some(false);
    }
    let time = |body: &Value| (body["data"]["updated_at"].as_u64(), body["timestamp"].as_u64());
    let last = snapshots.iter().map(|body| time(body)).max()?;
    let mut last = snapshots.iter().filter(|body| time(body) == last).map(|body| body["data"]["banned"] == false);
    let active = last.next()?;
    last.all(|other| other == active).then_some(active)
}

/// Runs the recorded failures, and then 48 cases on all processors: a case makes one request after the other.
fn converges<S: Strategy>(
    strategy: impl Fn() -> S + Sync,
    test: impl AsyncFn(&Case, S::Value) -> TestCaseResult + Sync,
) {
    let (campaign, worlds) = (Campaign::new(48), Worlds::new());
    let case = |values| worlds.runtime.block_on(test(&worlds.next_case(), values));
    let recorded = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(0) };
    if let Err(error) = TestRunner::new(recorded).run(&strategy(), case) {
        panic!("{error}");
    }
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(number) = campaign.next() {
                    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &number.seed());
                    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1) };
                    if let Err(error) = TestRunner::new_with_rng(config, random).run(&strategy(), case) {
                        campaign.fail(number, error);
                    }
                }
            });
        }
    });
}

#[test]
fn every_delivery_of_the_same_events_converges() {
    let indices = || prop::collection::vec(any::<Index>(), 24);
    let lost = || prop::collection::vec(any::<bool>(), 24);
    let strategy = || (prop::collection::vec(happening(), 1..12), indices(), lost());
    converges(strategy, async |case, (history, order, lost)| {
        let [in_order, any_order, _] = &case.worlds.each;
        let deliveries = case.prepare_all(&history).await;
        for delivery in &deliveries {
            apply(in_order, delivery).await;
        }
        let expected = case.state(in_order).await;
        for (user, (profile, _)) in USERS.into_iter().zip(&expected) {
            if let Some(active) = last_announced(&history, user) {
                prop_assert_eq!(profile.as_ref().map(|profile| profile.is_active), Some(active));
            }
        }

        // In any order, some twice and some never.
        let kept = order.iter().zip(&lost).filter(|(_, lost)| !**lost);
        apply_at_once(any_order, kept.map(|(index, _)| index.get(&deliveries).clone())).await;
        // Every event is delivered again, the last first.
        for delivery in deliveries.iter().rev() {
            apply(any_order, delivery).await;
        }
        prop_assert_eq!(case.state(any_order).await, expected);
        Ok(())
    });
}

#[test]
fn late_events_do_not_restore_erased_details() {
    let indices = || prop::collection::vec(any::<Index>(), 12);
    let strategy = || (prop::collection::vec(happening(), 1..12), indices(), indices());
    converges(strategy, async |case, (history, before, after)| {
        let [deletion_only, all, erased] = &case.worlds.each;
        let deletion = json!({ "type": "user.deleted", "timestamp": 1_003_000, "data": { "id": USERS[0] } });
        let deletion = case.prepare(&Happening::Webhook(deletion)).await;
        let deliveries = case.prepare_all(&history).await;
        apply(deletion_only, &deletion).await;
        for (happening, delivery) in history.iter().zip(&deliveries) {
            apply(all, delivery).await;
            if happening.is_deletion() {
                apply(deletion_only, delivery).await;
            }
        }
        let [(bare, _), _] = <[_; 2]>::try_from(case.state(deletion_only).await).expect("two users");
        let [_, other] = <[_; 2]>::try_from(case.state(all).await).expect("two users");

        for index in &before {
            apply(erased, index.get(&deliveries)).await;
        }
        apply(erased, &deletion).await;
        erase(erased, &case.user(USERS[0])).await;
        let after = after.iter().map(|index| index.get(&deliveries)).chain(&deliveries);
        apply_at_once(erased, after.cloned()).await;
        prop_assert_eq!(case.state(erased).await, [(bare, "inactive"), other]);
        Ok(())
    });
}
