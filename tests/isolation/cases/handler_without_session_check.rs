//! A handler reads only with a session that is checked beside the read, and writes only with one that was checked before.

use api::{Listed, Problem, ReadSession, Tagged};
use axum::extract::State;
use clerk_auth::Identity;
use store::{Id, Limit, Precondition, Resource, Table};

async fn read_with_identity<R: Resource>(identity: Identity, table: State<Table<R>>) -> Result<Listed<R>, Problem> {
    Ok(Listed(table.reader(&identity).list(Limit::default(), None).await?))
}

async fn read_without_session<R: Resource>(table: State<Table<R>>, id: Id) -> Result<Tagged<R>, Problem> {
    Ok(Tagged(table.reader(&id).get(id).await?))
}

async fn write_with_read_session<R: Resource>(
    session: ReadSession,
    table: State<Table<R>>,
    id: Id,
) -> Result<(), Problem> {
    Ok(table.writer(&session).delete(id, &Precondition::Exists).await?)
}

fn main() {}
