//! A reader has no methods that write.

use store::{CreateOutcome, Error, NewItem, ReadSession, Resource, Table};

async fn attack<R: Resource>(
    table: Table<R>,
    session: ReadSession,
    item: NewItem<R>,
) -> Result<CreateOutcome<R>, Error> {
    table.reader(&session).create(item).await
}

fn main() {}
