//! Notes: partition key `userId`, sort key `noteId`.

use aws_sdk_dynamodb::{Client, types::ReturnValue};
use clerk_auth::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    Authorized, Database, Error, Id,
    item::{Attributes, now, number, string},
};

/// A note, as it is stored and as it is shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Its id, which is the sort key as well.
    #[serde(rename(deserialize = "noteId"))]
    pub id: Id,
    /// What it says.
    pub text: Text,
    /// Milliseconds since the epoch.
    pub created_at: u64,
}

/// A note's text: 1 to 1000 characters.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (1..=1000).contains(&text.chars().count());
        fits.then_some(Self(text)).ok_or("a note has 1 to 1000 characters")
    }
}

/// The table of notes. Opens nothing by itself: see [`Notes::of`].
#[derive(Clone)]
pub struct Notes {
    client: Client,
    table: String,
}

impl Notes {
    /// The table named `table` in `database`.
    pub fn new(database: &Database, table: String) -> Self {
        Self { client: database.0.clone(), table }
    }

    /// The notes of the person that `identity` proves to be calling, to read them.
    pub fn of<'a>(&'a self, identity: &'a Identity) -> UserNotes<'a> {
        UserNotes { notes: self, user_id: identity.user_id() }
    }

    /// The same, to write them.
    pub fn of_author<'a>(&'a self, author: &'a Authorized) -> AuthorNotes<'a> {
        AuthorNotes(self.of(author.identity()))
    }
}

/// One person's notes, to read them.
pub struct UserNotes<'a> {
    notes: &'a Notes,
    user_id: &'a str,
}

impl UserNotes<'_> {
    /// The newest notes, at most 100.
    pub async fn newest(&self) -> Result<Vec<Note>, Error> {
        let query = self.notes.client.query().table_name(&self.notes.table);
        let query = query.key_condition_expression("userId = :user");
        let query = query.expression_attribute_values(":user", string(self.user_id));
        let query = query.scan_index_forward(false).consistent_read(true).limit(100);
        let output = query.send().await.map_err(Error::from_sdk)?;
        Ok(serde_dynamo::from_items(output.items.unwrap_or_default())?)
    }

    fn key(&self, id: Id) -> Attributes {
        Attributes::from([("userId".to_owned(), string(self.user_id)), ("noteId".to_owned(), string(id))])
    }
}

/// One person's notes, to write them.
pub struct AuthorNotes<'a>(UserNotes<'a>);

impl AuthorNotes<'_> {
    /// Creates a note.
    pub async fn create(&self, text: Text) -> Result<Note, Error> {
        let note = Note { id: Id::new(), text, created_at: now() };
        let put = self.0.notes.client.put_item().table_name(&self.0.notes.table);
        let put = put.set_item(Some(self.0.key(note.id)));
        let put = put.item("text", string(&note.text.0)).item("createdAt", number(note.created_at));
        put.send().await.map_err(Error::from_sdk)?;
        Ok(note)
    }

    /// Deletes a note.
    pub async fn delete(&self, id: Id) -> Result<(), Error> {
        let delete = self.0.notes.client.delete_item().table_name(&self.0.notes.table);
        let delete = delete.set_key(Some(self.0.key(id))).return_values(ReturnValue::AllOld);
        let output = delete.send().await.map_err(Error::from_sdk)?;
        output.attributes.map(drop).ok_or(Error::NotFound)
    }
}
