//! Sessions: the user whose data is read and written, and the session check.

use clerk_auth::Identity;
use tokio::sync::OnceCell;

use crate::{Accounts, Error};

/// The session of a verified token, to read with. Every read checks the session at the same time and withholds what it
/// read until the check has passed. Only [`Accounts::read_session`] makes one.
pub struct ReadSession {
    pub(crate) accounts: Accounts,
    identity: Identity,
    checked: OnceCell<()>,
}

impl ReadSession {
    pub(crate) fn new(accounts: Accounts, identity: Identity) -> Self {
        Self { accounts, identity, checked: OnceCell::new() }
    }

    /// The token's user. The session may not have been checked yet.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Checks the session, at most once. For a response without data of a table: reads check the session themselves.
    pub async fn check(&self) -> Result<(), Error> {
        self.checked.get_or_try_init(|| self.accounts.check(&self.identity)).await.copied()
    }

    /// The output of `read`, once the concurrent session check has passed.
    pub(crate) async fn checked<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (read, check) = tokio::join!(read, self.check());
        check?;
        read
    }
}

/// A session that was checked: the account is active, and the session has not ended. Every write requires one. Only
/// [`Accounts::write_session`] makes one.
#[derive(Debug)]
pub struct WriteSession(pub(crate) Identity);

impl WriteSession {
    /// The user.
    pub fn identity(&self) -> &Identity {
        &self.0
    }
}
