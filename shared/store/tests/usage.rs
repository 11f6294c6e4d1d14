//! What requests cost is counted, for each task by itself.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails where something is missing")]

mod support;

use store::{Chats, Limit, NewChat, Usage, Used};
use support::{Fixture, nowhere};

#[tokio::test]
async fn requests_are_counted_with_what_they_cost() {
    let fixture = Fixture::new().await;
    let chats = Chats::new(&fixture.database, "ChatsTable".to_owned());
    let author = fixture.author("user_ada").await;
    let title = |text: &str| NewChat { id: None, title: text.to_owned().try_into().expect("a title") };

    let (writing, reading) = (Usage::default(), Usage::default());
    let (written, listed) = tokio::join!(
        writing.count(async { chats.of_author(&author).create(title("Plans")).await }),
        reading.count(async { chats.of(author.identity()).list(Limit::default(), None).await }),
    );
    written.expect("created");
    listed.expect("listed");
    // The table's item and the index's.
    assert_eq!(writing.used(), Used { requests: 1, read_units: 0.0, write_units: 2.0 });
    assert_eq!((reading.used().requests, reading.used().write_units), (1, 0.0));

    let looking = Usage::default();
    looking.count(fixture.accounts().authorize(author.identity().clone())).await.expect("nothing speaks against it");
    // Two items that are not there, read consistently.
    assert_eq!(looking.used(), Used { requests: 1, read_units: 2.0, write_units: 0.0 });
}

#[tokio::test]
async fn requests_that_fail_are_counted_too() {
    let chats = Chats::new(&nowhere(), "ChatsTable".to_owned());
    let identity = support::identity("user_ada").await;
    let usage = Usage::default();
    usage.count(async { chats.of(&identity).list(Limit::default(), None).await }).await.expect_err("nobody is there");
    assert_eq!(usage.used(), Used { requests: 1, read_units: 0.0, write_units: 0.0 });
}
