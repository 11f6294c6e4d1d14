//! A partition that is opened to read has no methods that write.

use clerk_auth::Identity;
use store::{Chats, Created, Error, NewChat};

async fn attack(chats: Chats, identity: Identity, new: NewChat) -> Result<Created, Error> {
    chats.of(&identity).create(new).await
}

fn main() {
    let _ = attack;
}
