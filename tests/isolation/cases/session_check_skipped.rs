//! Only the session check makes the proof that a write asks for.

use api::{Author, Identity};
use store::Authorized;

fn attack(identity: Identity) -> Author {
    Author(Authorized(identity))
}

fn main() {
    let _ = attack;
}
