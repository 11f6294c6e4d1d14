//! A verified token is not enough to write: account and session must have been looked up.

use clerk_auth::Identity;
use store::{Chats, Created, Error, NewChat};

async fn attack(chats: Chats, identity: Identity, new: NewChat) -> Result<Created, Error> {
    chats.of_author(&identity).create(new).await
}

fn main() {
    let _ = attack;
}
