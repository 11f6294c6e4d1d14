//! An opened partition cannot be pointed at another user.

use clerk_auth::Identity;
use store::{Chats, UserChats};

fn attack(chats: Chats, own: Identity) {
    let own = chats.of(&own);
    let _ = UserChats { user_id: "user_eve", ..own };
}

fn main() {
    let _ = attack;
}
