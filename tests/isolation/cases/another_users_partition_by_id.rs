//! A partition is opened by a session, not by a user id.

use store::{Error, Limit, Page, Resource, Table};

async fn attack<R: Resource>(table: Table<R>) -> Result<Page<R>, Error> {
    table.reader("user_eve").list(Limit::default(), None).await
}

fn main() {}
