//! A table of a resource, on a real engine.

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
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Accounts, CreateOutcome, Cursor, Error, Id, InvalidResource, Item, Limit, NewItem, Precondition, Resource, Table,
    Writer,
};
use support::{Fixture, Note, NoteUpdate, change, identity, note, notes};

fn limit(number: u8) -> Limit {
    Limit::try_from(number.to_string()).expect("a limit")
}

async fn create(notes: &Writer<'_, Note>, text: &str) -> Item<Note> {
    match notes.create(NewItem { id: None, value: note(text) }).await.expect("created") {
        CreateOutcome::Created(note) => note,
        CreateOutcome::Replayed(note) => panic!("{note:?} existed already"),
    }
}

#[tokio::test]
async fn pages_list_every_item_once_newest_first() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let mut created = Vec::new();
    for number in 0..7 {
        created.push(create(&notes, &format!("note {number}")).await);
    }
    created.reverse();

    for size in [1, 3, 6, 7, 8] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = mine.list(limit(size), cursor).await.expect("a page");
            assert!(page.items.len() <= usize::from(size));
            seen.extend(page.items);
            // As a client sends it back.
            cursor = page.cursor.map(|cursor| Cursor::try_from(String::from(cursor)).expect("our own"));
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, created, "in pages of {size}");
    }
    let whole = mine.list(limit(7), None).await.expect("a page");
    assert!(whole.cursor.is_none(), "the page with the last note has no cursor");
}

#[tokio::test]
async fn list_order_does_not_follow_the_clients_clock() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
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
        let new = NewItem { id: Some(id.parse().expect("an id")), value: note(&format!("note {number}")) };
        let CreateOutcome::Created(note) = notes.create(new).await.expect("created") else { panic!("it is new") };
        // The next one is created in another millisecond: within one, ids determine the order.
        while store_clock() <= note.created_at {
            tokio::task::yield_now().await;
        }
        created.insert(0, note);
    }
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").items, created);
    let first = mine.list(limit(1), None).await.expect("a page");
    assert_eq!(mine.list(limit(3), first.cursor).await.expect("a page").items, created[1..]);
}

fn store_clock() -> u64 {
    u64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("soon")
}

#[tokio::test]
async fn a_deleted_item_leaves_a_tombstone_without_content() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let note = create(&notes, "plans").await;
    notes.update(note.id, change("secret plans"), &Precondition::Exists).await.expect("renamed");
    notes.delete(note.id, &Precondition::Exists).await.expect("deleted");

    let items = fixture.client.scan().table_name("TestNotesTable").send().await.expect("read").items.expect("items");
    let [tombstone] = items.as_slice() else { panic!("{items:?}") };
    let names: BTreeSet<_> = tombstone.keys().map(String::as_str).collect();
    let expected = ["noteId", "expiresAt", "resourceType", "userId", "version", "write1", "write2", "write3", "write4"];
    assert_eq!(names, BTreeSet::from(expected));
    let expires_at: u64 = tombstone["expiresAt"].as_n().expect("a number").parse().expect("seconds");
    let seconds = expires_at - store_clock() / 1000;
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&seconds), "{seconds}");

    assert!(matches!(mine.get(note.id).await, Err(Error::NotFound)));
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").items, []);
    for precondition in [Precondition::Exists, Precondition::VersionIn(vec![3])] {
        assert!(matches!(notes.update(note.id, change("d"), &precondition).await, Err(Error::NotFound)));
        assert!(matches!(notes.delete(note.id, &precondition).await, Err(Error::NotFound)));
    }
}

#[tokio::test]
async fn versions_continue_after_an_item_is_deleted_and_created_again() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let first = create(&notes, "plans").await;
    notes.delete(first.id, &Precondition::Exists).await.expect("deleted");
    let again = NewItem { id: Some(first.id), value: note("plans") };
    let CreateOutcome::Created(second) = notes.create(again).await.expect("created") else {
        panic!("the first is gone")
    };
    assert_eq!((first.version, second.version), (1, 3));
    assert_eq!(mine.get(first.id).await.expect("read"), second);
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").items, [second]);

    let stale = Precondition::VersionIn(vec![first.version]);
    assert!(matches!(notes.update(first.id, change("b"), &stale).await, Err(Error::VersionMismatch { current: 3 })));
    assert!(matches!(notes.delete(first.id, &stale).await, Err(Error::VersionMismatch { current: 3 })));
    // The new note does not have the tombstone's expiry.
    let items = fixture.client.scan().table_name("TestNotesTable").send().await.expect("read").items.expect("items");
    assert!(matches!(items.as_slice(), [item] if !item.contains_key("expiresAt")), "{items:?}");
    assert_eq!(items[0]["version"], AttributeValue::N("3".to_owned()));
}

#[tokio::test]
async fn repeated_creations_create_nothing() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let id = Some(Id::new());
    let new = |text| NewItem { id, value: note(text) };

    let CreateOutcome::Created(first) = notes.create(new("plans")).await.expect("created") else { panic!("it is new") };
    let CreateOutcome::Replayed(again) = notes.create(new("plans")).await.expect("known") else {
        panic!("it is known")
    };
    assert_eq!(again, first);
    assert!(matches!(notes.create(new("other")).await, Err(Error::IdConflict)));

    // The retry of a creation may arrive after a renaming.
    let renamed = notes.update(first.id, change("better plans"), &Precondition::Exists).await.expect("renamed");
    let CreateOutcome::Replayed(again) = notes.create(new("plans")).await.expect("known") else {
        panic!("it is known")
    };
    assert_eq!(again.value, renamed.value);
    assert_eq!(again.version, 2);
    assert_eq!(mine.list(Limit::default(), None).await.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn updates_require_a_version_of_their_precondition() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let note = create(&notes, "plans").await;
    let at = |versions: &[u64]| Precondition::VersionIn(versions.to_vec());

    let renamed = notes.update(note.id, change("b"), &at(&[1])).await.expect("at version 1");
    assert_eq!((renamed.version, renamed.created_at), (2, note.created_at));
    assert!(renamed.updated_at >= note.updated_at);
    for stale in [at(&[1]), at(&[]), at(&[3, 4])] {
        assert!(matches!(notes.update(note.id, change("c"), &stale).await, Err(Error::VersionMismatch { current: 2 })));
        assert!(matches!(notes.delete(note.id, &stale).await, Err(Error::VersionMismatch { current: 2 })));
    }
    assert_eq!(mine.get(note.id).await.expect("read").value, support::note("b"));
    notes.delete(note.id, &at(&[7, 2])).await.expect("at version 2");
    for precondition in [at(&[2]), Precondition::Exists] {
        assert!(matches!(notes.delete(note.id, &precondition).await, Err(Error::NotFound)));
        assert!(matches!(notes.update(note.id, change("d"), &precondition).await, Err(Error::NotFound)));
    }
    assert!(matches!(mine.get(note.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn one_of_two_concurrent_updates_of_a_version_succeeds() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let note = create(&notes, "plans").await;
    let precondition = Precondition::VersionIn(vec![1]);

    let (a, b) = tokio::join!(
        notes.update(note.id, change("a"), &precondition),
        notes.update(note.id, change("b"), &precondition),
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    let won = won.expect("one wins");
    assert!(matches!(lost, Err(Error::VersionMismatch { current: 2 })));
    assert_eq!(mine.get(note.id).await.expect("read").value, won.value);
}

#[tokio::test]
async fn another_users_item_is_not_found() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let (ada, eve) = (fixture.write_session("user_ada").await, fixture.write_session("user_eve").await);
    let (adas_session, eves_session) = (fixture.read_session("user_ada").await, fixture.read_session("user_eve").await);
    let (hers, eves) = (table.reader(&adas_session), table.reader(&eves_session));
    let (by_her, by_eve) = (table.writer(&ada), table.writer(&eve));
    let first = create(&by_her, "secret").await;
    let note = create(&by_her, "plans").await;
    let page = hers.list(limit(1), None).await.expect("a page");

    assert!(matches!(eves.get(note.id).await, Err(Error::NotFound)));
    assert!(matches!(by_eve.update(note.id, change("mine"), &Precondition::Exists).await, Err(Error::NotFound)));
    assert!(matches!(by_eve.delete(note.id, &Precondition::Exists).await, Err(Error::NotFound)));
    // With Ada's cursor, Eve still reads only Eve's notes.
    assert!(eves.list(limit(1), page.cursor).await.expect("a page").items.is_empty());
    // Eve can use the id of Ada's note for a note of her own.
    assert!(matches!(
        by_eve.create(NewItem { id: Some(note.id), value: support::note("mine") }).await,
        Ok(CreateOutcome::Created(_))
    ));
    assert_eq!(hers.list(Limit::default(), None).await.expect("a page").items, [note, first]);
}

#[tokio::test]
async fn an_unreachable_database_is_unavailable_and_a_rejected_request_is_internal() {
    let fixture = Fixture::new().await;
    let session = fixture.read_session("user_ada").await;
    let no_table = Table::<Note>::new(&fixture.database, "NoSuchTable".to_owned()).expect("a resource");
    assert!(matches!(no_table.reader(&session).list(Limit::default(), None).await, Err(Error::Internal(_))));
    assert!(matches!(no_table.reader(&session).get(Id::new()).await, Err(Error::Internal(_))));

    let unreachable = notes(&support::unreachable_database());
    assert!(matches!(unreachable.reader(&session).list(Limit::default(), None).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn members_are_set_kept_and_removed_one_by_one() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let (notes, mine) = (table.writer(&ada), table.reader(&session));
    let value = Note { date: Some(7), color: Some("red".to_owned()), pinned: true, ..note("plans") };
    let created = notes.create(NewItem { id: None, value: value.clone() }).await.expect("created");
    let CreateOutcome::Created(created) = created else { panic!("it is new") };
    assert_eq!(created.value, value);
    assert_eq!(mine.get(created.id).await.expect("read"), created);

    let kept = notes.update(created.id, NoteUpdate::default(), &Precondition::Exists).await.expect("updated");
    assert_eq!((kept.value, kept.version), (value.clone(), 2));
    let removal = NoteUpdate { date: Some(None), color: Some(Some("blue".to_owned())), text: None };
    let changed = notes.update(created.id, removal, &Precondition::Exists).await.expect("updated");
    let expected = Note { date: None, color: Some("blue".to_owned()), ..value };
    assert_eq!(changed.value, expected);
    let listed = mine.list(Limit::default(), None).await.expect("a page").items;
    assert_eq!(listed, [changed]);

    // The member `color` is stored in `shade`. Members without a value are not stored.
    let stored = fixture.items("TestNotesTable").await;
    assert_eq!(stored[0]["shade"], "blue");
    for absent in ["color", "date"] {
        assert_eq!(stored[0].get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn an_item_of_an_older_release_is_read_with_defaults() {
    let fixture = Fixture::new().await;
    let (table, id) = (notes(&fixture.database), Id::new());
    // Without members of later releases, and with an attribute that is no longer used.
    let item = json!({
        "userId": "user_ada", "noteId": id, "listPosition": format!("{:015}#{id}", 1000), "text": "plans",
        "createdAt": 1000, "updatedAt": 1000, "version": 1, "firstVersion": 1, "write1": "w", "retired": "x",
    });
    fixture.put("TestNotesTable", item).await;
    let session = fixture.read_session("user_ada").await;
    let expected = Item { id, value: note("plans"), created_at: 1000, updated_at: 1000, version: 1 };
    assert_eq!(table.reader(&session).get(id).await.expect("read"), expected);
    assert_eq!(table.reader(&session).list(Limit::default(), None).await.expect("a page").items, [expected]);
    let ada = fixture.write_session("user_ada").await;
    let updated = table.writer(&ada).update(id, change("b"), &Precondition::VersionIn(vec![1])).await.expect("updated");
    assert_eq!((updated.value, updated.version), (note("b"), 2));
}

#[tokio::test]
async fn a_creation_is_recognized_after_a_release_that_adds_a_member() {
    #[derive(Clone, Deserialize, Serialize)]
    struct Before {
        text: String,
    }

    impl Resource for Before {
        const NAME: &str = "note";
        const PLURAL: &str = "notes";
        type Update = Self;
    }

    let fixture = Fixture::new().await;
    let ada = fixture.write_session("user_ada").await;
    let id = Some(Id::new());
    let before = Table::<Before>::new(&fixture.database, "TestNotesTable".to_owned()).expect("a resource");
    let created = before.writer(&ada).create(NewItem { id, value: Before { text: "plans".to_owned() } }).await;
    assert!(matches!(created, Ok(CreateOutcome::Created(_))));
    let replayed = notes(&fixture.database).writer(&ada).create(NewItem { id, value: note("plans") }).await;
    assert!(matches!(replayed, Ok(CreateOutcome::Replayed(_))));
}

#[tokio::test]
async fn items_below_a_parent_are_separate_from_those_below_another() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let session = fixture.read_session("user_ada").await;
    let [one, other] = [Id::new(), Id::new()].map(|parent| table.clone().below(parent));
    let first = create(&one.writer(&ada), "first").await;
    let second = create(&one.writer(&ada), "second").await;
    let foreign = create(&other.writer(&ada), "foreign").await;

    let page = one.reader(&session).list(limit(1), None).await.expect("a page");
    assert_eq!(page.items, std::slice::from_ref(&second));
    let page = one.reader(&session).list(limit(1), page.cursor).await.expect("a page");
    assert_eq!((page.items, page.cursor), (vec![first.clone()], None));
    assert_eq!(
        other.reader(&session).list(limit(9), None).await.expect("a page").items,
        std::slice::from_ref(&foreign)
    );
    // A list of all continues with the next parent's items.
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = table.reader(&session).list(limit(1), cursor).await.expect("a page");
        all.extend(page.items.into_iter().map(|item| item.id));
        cursor = page.cursor.map(|cursor| Cursor::try_from(String::from(cursor)).expect("our own"));
        if cursor.is_none() {
            break;
        }
    }
    let sorted = |mut ids: Vec<Id>| {
        ids.sort_by_key(ToString::to_string);
        ids
    };
    assert_eq!(sorted(all), sorted(vec![first.id, second.id, foreign.id]));
    assert_eq!(one.reader(&session).get(first.id).await.expect("read"), first);
    assert!(matches!(one.reader(&session).get(foreign.id).await, Err(Error::NotFound)));
    assert!(matches!(one.writer(&ada).delete(foreign.id, &Precondition::Exists).await, Err(Error::NotFound)));
    // The same id below another parent is another item.
    let again = other.writer(&ada).create(NewItem { id: Some(first.id), value: note("other") }).await;
    assert!(matches!(again, Ok(CreateOutcome::Created(_))));
    one.writer(&ada).delete(first.id, &Precondition::Exists).await.expect("deleted");
    assert_eq!(other.reader(&session).get(first.id).await.expect("read").value, note("other"));
}

#[tokio::test]
async fn a_read_is_withheld_until_the_session_check_passes() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let note = create(&table.writer(&fixture.write_session("user_ada").await), "plans").await;
    let expires_at = store_clock() / 1000 + 60;
    let end = json!({ "userId": "user_ada", "sessionId": "sess_1", "expiresAt": expires_at });
    let session = fixture.read_session("user_ada").await;
    fixture.put("SessionsTable", end).await;
    let reader = table.reader(&session);
    assert!(matches!(reader.list(Limit::default(), None).await, Err(Error::SessionEnded)));
    assert!(matches!(reader.get(note.id).await, Err(Error::SessionEnded)));
    assert!(matches!(reader.get(Id::new()).await, Err(Error::SessionEnded)));
    assert!(matches!(session.check().await, Err(Error::SessionEnded)));
    // A session check that cannot be made fails closed, even if the read succeeds.
    let accounts = Accounts::new(&fixture.database, "UsersTable".to_owned(), "NoSuchTable".to_owned());
    let session = accounts.read_session(identity("user_ada").await);
    let reader = table.reader(&session);
    assert!(matches!(reader.list(Limit::default(), None).await, Err(Error::Internal(_))));
    assert!(matches!(reader.get(note.id).await, Err(Error::Internal(_))));
}

#[tokio::test]
async fn creations_that_differ_in_an_optional_member_conflict() {
    let fixture = Fixture::new().await;
    let table = notes(&fixture.database);
    let ada = fixture.write_session("user_ada").await;
    let id = Some(Id::new());
    let with = |date| NewItem { id, value: Note { date, ..note("plans") } };
    assert!(matches!(table.writer(&ada).create(with(Some(0))).await, Ok(CreateOutcome::Created(_))));
    assert!(matches!(table.writer(&ada).create(with(Some(0))).await, Ok(CreateOutcome::Replayed(_))));
    assert!(matches!(table.writer(&ada).create(with(None)).await, Err(Error::IdConflict)));
}

#[tokio::test]
async fn a_value_that_dynamodb_cannot_store_is_named() {
    #[derive(Clone, Deserialize, Serialize)]
    struct Odd {
        any: serde_json::Value,
    }

    impl Resource for Odd {
        const NAME: &str = "note";
        const PLURAL: &str = "notes";
        type Update = Self;
    }

    let fixture = Fixture::new().await;
    let table = Table::<Odd>::new(&fixture.database, "TestNotesTable".to_owned()).expect("a resource");
    let ada = fixture.write_session("user_ada").await;
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
    let stored = NewItem { id: None, value: Odd { any: json!({ "a": [1e125, -1e-129, 0, null, nested(27)] }) } };
    let stored = table.writer(&ada).create(stored).await.expect("stored");
    let CreateOutcome::Created(stored) = stored else { panic!("it is new") };
    for any in [json!(1e300), json!(-1e-200), json!([{ "a": 1e126 }]), json!({ "": 1 }), nested(40)] {
        let created = table.writer(&ada).create(NewItem { id: None, value: Odd { any: any.clone() } }).await;
        assert!(matches!(created, Err(Error::Unstorable("any"))), "{any}");
        let updated = table.writer(&ada).update(stored.id, Odd { any: any.clone() }, &Precondition::Exists).await;
        assert!(matches!(updated, Err(Error::Unstorable("any"))), "{any}");
    }
}

#[tokio::test]
async fn invalid_resources_are_rejected() {
    #[derive(Clone, Deserialize, Serialize)]
    struct Session {
        text: String,
    }

    impl Resource for Session {
        const NAME: &str = "session";
        const PLURAL: &str = "sessions";
        type Update = Self;
    }

    #[derive(Clone, Deserialize, Serialize)]
    struct Fields {
        text: String,
    }

    #[derive(Clone, Deserialize, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Reserved {
        list_position: String,
    }

    #[derive(Clone, Deserialize, Serialize)]
    struct Flattened {
        #[serde(flatten)]
        fields: Fields,
    }

    macro_rules! resource {
        ($resource:ty, $update:ty) => {
            impl Resource for $resource {
                const NAME: &str = "note";
                const PLURAL: &str = "notes";
                type Update = $update;
            }
        };
    }
    resource!(Fields, NoteUpdate);
    resource!(Reserved, Self);
    resource!(Flattened, Self);

    let database = support::unreachable_database();
    let table = || "TestNotesTable".to_owned();
    let error = Table::<Session>::new(&database, table()).err().expect("its table would be that of ended sessions");
    assert!(matches!(&error, InvalidResource::ReservedName("sessions")), "{error}");
    let error = Table::<Fields>::new(&database, table()).err().expect("the update has other members");
    assert!(matches!(&error, InvalidResource::UnknownMember { member, .. } if member == "date"), "{error}");
    let error = Table::<Reserved>::new(&database, table()).err().expect("every item has a position");
    assert!(matches!(&error, InvalidResource::ReservedMember { member, .. } if member == "listPosition"), "{error}");
    let error = Table::<Flattened>::new(&database, table()).err().expect("its members are unknown");
    assert!(matches!(&error, InvalidResource::NotAStruct("note")), "{error}");
}

#[test]
fn ids_limits_and_cursors_are_checked() {
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
        // The format before positions: a version and an id.
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
