//! A cursor holds a place within a partition, so it cannot name another user's.

use store::{Cursor, Error, Limit, Page, Resource, Table};

fn attack() -> Cursor {
    Cursor("user_eve")
}

async fn list<R: Resource>(table: Table<R>, cursor: Cursor) -> Result<Page<R>, Error> {
    table.reader(&cursor).list(Limit::default(), None).await
}

fn main() {}
