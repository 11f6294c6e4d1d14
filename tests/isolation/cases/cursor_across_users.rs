//! A cursor holds a place within a partition, so it cannot name another user's.

use store::{Cursor, Error, Limit, Page, Resource, Table};

fn attack(own: Cursor) -> Cursor {
    let mut cursor = own;
    cursor.parents = vec!["user_eve"];
    cursor
}

async fn list<R: Resource>(table: Table<R>, cursor: Cursor) -> Result<Page<R>, Error> {
    table.reader(&cursor).list(Limit::default(), None).await
}

fn main() {}
