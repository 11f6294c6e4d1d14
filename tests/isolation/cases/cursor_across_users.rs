//! A cursor holds a place within a partition, so it cannot name another user's.

use store::{Chats, Cursor, Error, Limit, Page};

fn attack() -> Cursor {
    Cursor("user_eve")
}

async fn list(chats: Chats, cursor: Cursor) -> Result<Page, Error> {
    chats.of(&cursor).list(Limit::default(), None).await
}

fn main() {
    let _ = (attack, list);
}
