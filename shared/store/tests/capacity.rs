//! The requests and the capacity that each task consumes.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]

mod support;

use store::{Chats, ConsumedCapacity, Limit, NewChat};
use support::{Fixture, nowhere};

#[tokio::test]
async fn each_task_measures_its_own_requests() {
    let fixture = Fixture::new().await;
    let chats = Chats::new(&fixture.database, "ChatsTable".to_owned());
    let author = fixture.author("user_ada").await;
    let title = |text: &str| NewChat { id: None, title: text.to_owned().try_into().expect("a title") };

    let ((written, writing), (listed, reading)) = tokio::join!(
        ConsumedCapacity::measure(async { chats.of_author(&author).create(title("Plans")).await }),
        ConsumedCapacity::measure(async { chats.of(author.identity()).list(Limit::default(), None).await }),
    );
    written.expect("created");
    listed.expect("listed");
    // The table's item and the index's.
    assert_eq!(writing, ConsumedCapacity { requests: 1, read_units: 0.0, write_units: 2.0 });
    assert_eq!((reading.requests, reading.write_units), (1, 0.0));

    let accounts = fixture.accounts();
    let (active, checking) = ConsumedCapacity::measure(Box::pin(accounts.authorize(author.identity().clone()))).await;
    active.expect("the account is active");
    // Two missing items, read consistently.
    assert_eq!(checking, ConsumedCapacity { requests: 1, read_units: 2.0, write_units: 0.0 });
}

#[tokio::test]
async fn failed_requests_are_counted() {
    let chats = Chats::new(&nowhere(), "ChatsTable".to_owned());
    let identity = support::identity("user_ada").await;
    let list = Box::pin(async { chats.of(&identity).list(Limit::default(), None).await });
    let (listed, consumed) = ConsumedCapacity::measure(list).await;
    listed.expect_err("no database");
    assert_eq!(consumed, ConsumedCapacity { requests: 1, read_units: 0.0, write_units: 0.0 });
}
