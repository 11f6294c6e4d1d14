//! Open WebSocket connections: partition key `userId`, sort key `connection`.
//!
//! A user's connections are reachable only with a verified identity ([`Connections::open`]) or with a stream record of the
//! user's own partition ([`Connections::of`]).

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use serde::Deserialize;

use crate::{
    Database, Error, ReadSession, UserChanges,
    item::{self, Attributes, now, number, string},
};

/// How long a connection is stored, in seconds. API Gateway closes it after two hours.
const CONNECTION_TTL: u64 = (2 * 60 + 10) * 60;

/// How long after its announcement a connection may not be open yet. Until then it does not count as closed.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after its announcement a connection is accepted. API Gateway has the rest of [`OPENING_TIMEOUT`] to open it.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(8);

/// A connection that API Gateway announces.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// API Gateway's id.
    pub id: String,
    /// Milliseconds since the epoch.
    pub connected_at: u64,
}

/// A stored connection of a user.
#[derive(Clone, Debug)]
pub struct Connection {
    user_id: String,
    id: String,
    connected_at: u64,
    session_id: Option<String>,
}

impl Connection {
    /// API Gateway's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it may not be open yet.
    pub fn may_be_opening(&self) -> bool {
        self.age() < OPENING_TIMEOUT
    }

    /// Whether it must be refused, since it could open after [`Self::may_be_opening`] has become false.
    pub fn is_too_late(&self) -> bool {
        self.age() > ACCEPT_TIMEOUT
    }

    fn age(&self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.connected_at))
    }

    /// The session whose token opened it.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    fn key(&self) -> Attributes {
        let Self { user_id, id, connected_at, .. } = self;
        // As many digits as every time until the year 2286 has, so that keys sort by time.
        let connection = string(format!("{connected_at:013}#{id}"));
        Attributes::from([("userId".to_owned(), string(user_id)), ("connection".to_owned(), connection)])
    }
}

/// The table of open connections.
#[derive(Clone)]
pub struct Connections {
    client: Client,
    table: String,
}

impl Connections {
    /// The table named `table` in `database`.
    pub fn new(database: &Database, table: String) -> Self {
        Self { client: database.0.clone(), table }
    }

    /// Stores a connection of the session's user. The session must be checked **after** this: the end of a session is
    /// written before its connections are read, so either the check sees the end, or that read sees this connection.
    pub async fn open(&self, session: &ReadSession, connection: NewConnection) -> Result<Connection, Error> {
        let identity = session.identity();
        let connection = Connection {
            user_id: identity.user_id().to_owned(),
            id: connection.id,
            connected_at: connection.connected_at,
            session_id: identity.session_id().map(str::to_owned),
        };
        let mut item = connection.key();
        item.insert("expiresAt".to_owned(), number(now() / 1000 + CONNECTION_TTL));
        if let Some(session_id) = connection.session_id() {
            item.insert("sessionId".to_owned(), string(session_id));
        }
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map_err(Error::from_sdk)?;
        Ok(connection)
    }

    /// All connections of the user of `changes`, newest first, strongly consistent.
    pub async fn of(&self, changes: &UserChanges) -> Result<Vec<Connection>, Error> {
        let user_id = changes.user_id();
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", string(user_id))
            .consistent_read(true)
            .scan_index_forward(false)
            .into_paginator()
            .send();
        let (mut connections, now) = (Vec::new(), now() / 1000);
        while let Some(page) = pages.next().await {
            for row in page.map_err(Error::from_sdk)?.items.unwrap_or_default() {
                let Row { connection: Key { connected_at, id }, session_id, expires_at } = item::read(row)?;
                // DynamoDB deletes expired items only some time later.
                if expires_at > now {
                    connections.push(Connection { user_id: user_id.to_owned(), id, connected_at, session_id });
                }
            }
        }
        Ok(connections)
    }

    /// Deletes a connection.
    pub async fn remove(&self, connection: &Connection) -> Result<(), Error> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(connection.key()));
        delete.send().await.map_err(Error::from_sdk).map(drop)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    connection: Key,
    session_id: Option<String>,
    expires_at: u64,
}

/// The sort key.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Key {
    connected_at: u64,
    id: String,
}

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        let parts = key.split_once('#').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
        parts.map(|(connected_at, id)| Self { connected_at, id }).ok_or("a connection's key is its time and id")
    }
}
