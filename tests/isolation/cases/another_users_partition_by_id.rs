//! A partition is opened by a verified identity, not by a user id.

use store::{Chats, Error, Limit, Page};

async fn attack(chats: Chats) -> Result<Page, Error> {
    chats.of("user_eve").list(Limit::default(), None).await
}

fn main() {
    let _ = attack;
}
