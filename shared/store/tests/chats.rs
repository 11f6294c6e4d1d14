//! The table of chats, on a real engine.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod support;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use store::{AuthorChats, Chat, Chats, Created, Cursor, Error, Id, Limit, NewChat, Precondition, Title};
use support::{Fixture, identity};

fn chats(fixture: &Fixture) -> Chats {
    Chats::new(&fixture.database, "ChatsTable".to_owned())
}

fn title(text: &str) -> Title {
    Title::try_from(text.to_owned()).expect("a title")
}

fn limit(number: u8) -> Limit {
    Limit::try_from(number.to_string()).expect("a limit")
}

async fn create(chats: &AuthorChats<'_>, text: &str) -> Chat {
    match chats.create(NewChat { id: None, title: title(text) }).await.expect("created") {
        Created::New(chat) => chat,
        Created::Already(chat) => panic!("{chat:?} was there already"),
    }
}

#[tokio::test]
async fn pages_run_from_the_newest_to_the_oldest_without_gaps() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let mut created = Vec::new();
    for number in 0..7 {
        created.push(create(&chats, &format!("chat {number}")).await);
    }
    created.reverse();

    for size in [1, 3, 6, 7, 8] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = mine.list(limit(size), cursor).await.expect("a page");
            assert!(page.chats.len() <= usize::from(size));
            seen.extend(page.chats);
            // The cursor makes the round trip that it makes through a client.
            cursor = page.cursor.map(|cursor| Cursor::try_from(String::from(cursor)).expect("our own"));
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, created, "in pages of {size}");
    }
    let whole = mine.list(limit(7), None).await.expect("a page");
    assert!(whole.cursor.is_none(), "a page that holds the last chat leads nowhere");
}

#[tokio::test]
async fn list_order_does_not_follow_the_clients_clock() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let mut created = Vec::new();
    // From clocks in the year 2200, a day behind, in the year 10889 and in 1970.
    for (number, id) in [
        "069a0a00-0000-7000-8000-000000000001",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-7000-8000-000000000000",
    ]
    .into_iter()
    .enumerate()
    {
        let new = NewChat { id: Some(id.parse().expect("an id")), title: title(&format!("chat {number}")) };
        let Created::New(chat) = chats.create(new).await.expect("created") else { panic!("it is new") };
        // The next one is created in another millisecond: within one, ids decide.
        while store_clock() <= chat.created_at {
            tokio::task::yield_now().await;
        }
        created.insert(0, chat);
    }
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").chats, created);
    let first = mine.list(limit(1), None).await.expect("a page");
    assert_eq!(mine.list(limit(3), first.cursor).await.expect("a page").chats, created[1..]);
}

fn store_clock() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

#[tokio::test]
async fn a_deleted_chat_leaves_a_tombstone_without_content() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let chat = create(&chats, "plans").await;
    chats.rename(chat.id, title("secret plans"), &Precondition::Exists).await.expect("renamed");
    chats.delete(chat.id, &Precondition::Exists).await.expect("deleted");

    let items = fixture.client.scan().table_name("ChatsTable").send().await.expect("read").items.expect("items");
    let [tombstone] = items.as_slice() else { panic!("{items:?}") };
    let names: BTreeSet<_> = tombstone.keys().map(String::as_str).collect();
    let expected = ["chatId", "expiresAt", "userId", "version", "write1", "write2", "write3", "write4"];
    assert_eq!(names, BTreeSet::from(expected));
    let expires_at: u64 = tombstone["expiresAt"].as_n().expect("a number").parse().expect("seconds");
    let seconds = expires_at - store_clock() / 1000;
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&seconds), "{seconds}");

    assert_eq!(mine.get(chat.id).await.expect("read"), None);
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").chats, []);
    for precondition in [Precondition::Exists, Precondition::VersionIn(vec![3])] {
        assert!(matches!(chats.rename(chat.id, title("d"), &precondition).await, Err(Error::NotFound)));
        assert!(matches!(chats.delete(chat.id, &precondition).await, Err(Error::NotFound)));
    }
}

#[tokio::test]
async fn versions_continue_after_a_chat_is_deleted_and_created_again() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let first = create(&chats, "plans").await;
    chats.delete(first.id, &Precondition::Exists).await.expect("deleted");
    let again = NewChat { id: Some(first.id), title: title("plans") };
    let Created::New(second) = chats.create(again).await.expect("created") else { panic!("the first is gone") };
    assert_eq!((first.version, second.version), (1, 3));
    assert_eq!(mine.get(first.id).await.expect("read").as_ref(), Some(&second));
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").chats, [second]);

    let stale = Precondition::VersionIn(vec![first.version]);
    assert!(matches!(chats.rename(first.id, title("b"), &stale).await, Err(Error::Changed { current: 3 })));
    assert!(matches!(chats.delete(first.id, &stale).await, Err(Error::Changed { current: 3 })));
    // The tombstone's expiry is not the new chat's.
    let items = fixture.client.scan().table_name("ChatsTable").send().await.expect("read").items.expect("items");
    assert!(matches!(items.as_slice(), [item] if !item.contains_key("expiresAt")), "{items:?}");
    assert_eq!(items[0]["version"], AttributeValue::N("3".to_owned()));
}

#[tokio::test]
async fn a_creation_sent_again_creates_nothing() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let id = Some(Id::new());
    let new = |text| NewChat { id, title: title(text) };

    let Created::New(first) = chats.create(new("plans")).await.expect("created") else { panic!("it is new") };
    let Created::Already(again) = chats.create(new("plans")).await.expect("known") else { panic!("it is known") };
    assert_eq!(again, first);
    assert!(matches!(chats.create(new("other")).await, Err(Error::Taken)));

    // The retry of a creation may arrive after a renaming.
    let renamed = chats.rename(first.id, title("better plans"), &Precondition::Exists).await.expect("renamed");
    let Created::Already(again) = chats.create(new("plans")).await.expect("known") else { panic!("it is known") };
    assert_eq!(again.title, renamed.title);
    assert_eq!(again.version, 2);
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").chats.len(), 1);
}

#[tokio::test]
async fn a_change_demands_the_version_it_was_made_for() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let chat = create(&chats, "plans").await;
    let at = |versions: &[u64]| Precondition::VersionIn(versions.to_vec());

    let renamed = chats.rename(chat.id, title("b"), &at(&[1])).await.expect("at version 1");
    assert_eq!((renamed.version, renamed.created_at), (2, chat.created_at));
    assert!(renamed.updated_at >= chat.updated_at);
    for stale in [at(&[1]), at(&[]), at(&[3, 4])] {
        assert!(matches!(chats.rename(chat.id, title("c"), &stale).await, Err(Error::Changed { current: 2 })));
        assert!(matches!(chats.delete(chat.id, &stale).await, Err(Error::Changed { current: 2 })));
    }
    assert_eq!(mine.get(chat.id).await.expect("read").expect("there").title, title("b"));
    chats.delete(chat.id, &at(&[7, 2])).await.expect("at version 2");
    for precondition in [at(&[2]), Precondition::Exists] {
        assert!(matches!(chats.delete(chat.id, &precondition).await, Err(Error::NotFound)));
        assert!(matches!(chats.rename(chat.id, title("d"), &precondition).await, Err(Error::NotFound)));
    }
    assert_eq!(mine.get(chat.id).await.expect("read"), None);
}

#[tokio::test]
async fn of_changes_made_at_once_for_one_version_one_wins() {
    let fixture = Fixture::new().await;
    let chats = chats(&fixture);
    let ada = fixture.author("user_ada").await;
    let (chats, mine) = (chats.of_author(&ada), chats.of(ada.identity()));
    let chat = create(&chats, "plans").await;
    let precondition = Precondition::VersionIn(vec![1]);

    let (a, b) = tokio::join!(
        chats.rename(chat.id, title("a"), &precondition),
        chats.rename(chat.id, title("b"), &precondition),
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    let won = won.expect("one wins");
    assert!(matches!(lost, Err(Error::Changed { current: 2 })));
    assert_eq!(mine.get(chat.id).await.expect("read").expect("there").title, won.title);
}

#[tokio::test]
async fn another_persons_chat_is_one_that_does_not_exist() {
    let fixture = Fixture::new().await;
    let table = chats(&fixture);
    let (ada, eve) = (fixture.author("user_ada").await, fixture.author("user_eve").await);
    let (hers, eves) = (table.of(ada.identity()), table.of(eve.identity()));
    let (by_her, by_eve) = (table.of_author(&ada), table.of_author(&eve));
    let first = create(&by_her, "secret").await;
    let chat = create(&by_her, "plans").await;
    let page = hers.list(limit(1), None).await.expect("a page");

    assert_eq!(eves.get(chat.id).await.expect("read"), None);
    assert!(matches!(by_eve.rename(chat.id, title("mine"), &Precondition::Exists).await, Err(Error::NotFound)));
    assert!(matches!(by_eve.delete(chat.id, &Precondition::Exists).await, Err(Error::NotFound)));
    // Her cursor leads Eve nowhere but to Eve's own chats.
    assert!(eves.list(limit(1), page.cursor).await.expect("a page").chats.is_empty());
    // Even her id is free to Eve, and stays hers.
    assert!(matches!(by_eve.create(NewChat { id: Some(chat.id), title: title("mine") }).await, Ok(Created::New(_))));
    assert_eq!(hers.list(Limit::default(), None).await.expect("a page").chats, [chat, first]);
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable_and_one_that_refuses_is_our_fault() {
    let fixture = Fixture::new().await;
    let ada = identity("user_ada").await;
    let no_table = Chats::new(&fixture.database, "NoSuchTable".to_owned());
    assert!(matches!(no_table.of(&ada).list(Limit::default(), None).await, Err(Error::Internal(_))));

    let away = Chats::new(&support::nowhere(), "ChatsTable".to_owned());
    assert!(matches!(away.of(&ada).list(Limit::default(), None).await, Err(Error::Unavailable(_))));
}

#[test]
fn ids_titles_limits_and_cursors_are_checked() {
    for id in [
        "",
        "nonsense",
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "00000000-0000-0000-0000-000000000000",
        "01890a5d-ac96-774b-bcce-b302099a805",
    ] {
        assert!(id.parse::<Id>().is_err(), "{id}");
    }
    let id: Id = "01890A5D-AC96-774B-BCCE-B302099A8057".parse().expect("case does not matter");
    assert_eq!(id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");

    let long = "ä".repeat(200);
    for (text, trimmed) in [(" a ", "a"), ("\tb\n", "b"), (long.as_str(), long.as_str()), ("👩‍🚀", "👩‍🚀")]
    {
        assert_eq!(title(text), title(trimmed));
    }
    for text in ["", " ", "\u{3000}", "a\nb", "a\0b", "a\u{7f}b", "a\u{85}b", &"ä".repeat(201)] {
        assert!(Title::try_from(text.to_owned()).is_err(), "{text:?}");
    }
    for text in ["", "0", "101", "256", "-1", "1.5", "1e1", " 1", "many"] {
        assert!(Limit::try_from(text.to_owned()).is_err(), "{text:?}");
    }
    let cursor = |version: u8, created_at: u64, id: &str| {
        let id = uuid::Uuid::parse_str(id).expect("a UUID");
        BASE64_URL_SAFE_NO_PAD.encode([&[version], &created_at.to_be_bytes()[..], id.as_bytes()].concat())
    };
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let good = cursor(2, 1_700_000_000_000, id);
    assert_eq!(String::from(Cursor::try_from(good.clone()).expect("a cursor")), good);
    for text in [
        "",
        "nonsense",
        "Ag",
        "user_eve",
        // As it was before positions: a version and an id.
        "AQGJCl2sl3dLvM6zAgmagFc",
        &cursor(1, 1_700_000_000_000, id),
        &cursor(3, 1_700_000_000_000, id),
        &cursor(2, 1_000_000_000_000_000, id),
        &cursor(2, 1_700_000_000_000, "67e55044-10b1-426f-9247-bb680e5fe0c8"),
        &format!("{good}A"),
        &format!("{good}=="),
        &good[..good.len() - 2],
    ] {
        assert!(Cursor::try_from(text.to_owned()).is_err(), "{text:?}");
    }
}
