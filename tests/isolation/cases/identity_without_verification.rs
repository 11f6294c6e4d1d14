//! Only the verifier makes an identity, and nothing changes one.

use clerk_auth::Identity;

fn attack(mut own: Identity) -> Identity {
    own.user_id = "user_eve".to_owned();
    Identity::default()
}

fn main() {}
