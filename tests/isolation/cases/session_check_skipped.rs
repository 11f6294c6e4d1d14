//! Only `Accounts` makes sessions: one to read with, which every read checks, or one that was checked.

use clerk_auth::Identity;
use store::{Accounts, ReadSession, WriteSession};

fn checked(identity: Identity) -> WriteSession {
    WriteSession(identity)
}

fn unchecked(accounts: Accounts, identity: Identity) -> ReadSession {
    ReadSession::new(accounts, identity)
}

fn marked_as_checked(session: &mut ReadSession) {
    session.checked = Default::default();
}

fn of_another_user(session: &mut WriteSession, eve: Identity) {
    session.0 = eve;
}

fn extractor(session: ReadSession) -> api::WriteSession {
    api::WriteSession(session)
}

fn main() {}
