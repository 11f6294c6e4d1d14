//! Only a verified webhook makes an event, so no code can delete a user by id.

use clerk_auth::{DeletedUser, Event};

fn attack() -> Event {
    Event::UserDeleted(DeletedUser { id: "user_eve".to_owned(), at: 0 })
}

fn main() {}
