//! Each task's requests and consumed capacity.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]

mod support;

use store::{Accounts, ConsumedCapacity, Id, Limit, NewItem, Profiles};
use support::{Fixture, identity, note, notes, unreachable_database};

#[tokio::test]
async fn each_task_measures_its_own_requests() {
    let fixture = Fixture::new().await;
    let notes = notes(&fixture.database);
    let write_session = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;

    let ((written, writing), (listed, reading)) = tokio::join!(
        ConsumedCapacity::measure(async {
            notes.writer(&write_session).create(NewItem { id: None, value: note("plans") }).await
        }),
        ConsumedCapacity::measure(async { notes.reader(&session).list(Limit::default(), None).await }),
    );
    written.expect("created");
    listed.expect("listed");
    // The table's item and the index's.
    assert_eq!(writing, ConsumedCapacity { requests: 1, read_units: 0.0, write_units: 2.0 });
    // The list, and the session check with two missing items.
    assert_eq!((reading.requests, reading.write_units), (2, 0.0));

    let accounts = fixture.accounts();
    let checking = ConsumedCapacity::measure(Box::pin(accounts.write_session(write_session.identity().clone())));
    let (active, checking) = checking.await;
    active.expect("the account is active");
    // Two missing items, read consistently.
    assert_eq!(checking, ConsumedCapacity { requests: 1, read_units: 2.0, write_units: 0.0 });
}

#[tokio::test]
async fn an_item_or_a_profile_is_read_by_the_request_that_checks_the_session() {
    let fixture = Fixture::new().await;
    let (notes, profiles) = (notes(&fixture.database), Profiles::new(&fixture.database, "UsersTable".to_owned()));
    let session = fixture.read_session("user_ada").await;
    let (item, getting) = ConsumedCapacity::measure(Box::pin(notes.reader(&session).get(Id::new()))).await;
    item.expect_err("it does not exist");
    assert_eq!(getting, ConsumedCapacity { requests: 1, read_units: 3.0, write_units: 0.0 });

    // The profile is the account.
    let (profile, getting) = ConsumedCapacity::measure(Box::pin(profiles.get(&session))).await;
    assert_eq!(profile.expect("read"), None);
    assert_eq!(getting, ConsumedCapacity { requests: 1, read_units: 2.0, write_units: 0.0 });
}

#[tokio::test]
async fn failed_requests_count_as_well() {
    let notes = notes(&unreachable_database());
    let accounts = Accounts::new(&unreachable_database(), "UsersTable".to_owned(), "SessionsTable".to_owned());
    let session = accounts.read_session(identity("user_ada").await);
    let (listed, reading) =
        ConsumedCapacity::measure(Box::pin(notes.reader(&session).list(Limit::default(), None))).await;
    listed.expect_err("the database is unreachable");
    assert_eq!(reading, ConsumedCapacity { requests: 2, read_units: 0.0, write_units: 0.0 });
}
