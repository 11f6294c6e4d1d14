//! A verified token is not enough to write: the session must have been checked.

use clerk_auth::Identity;
use store::{Error, Id, Precondition, Profile, ProfileUpdate, Profiles, Resource, Table, UpsertOutcome};

async fn item<R: Resource>(table: Table<R>, identity: Identity, id: Id) -> Result<(), Error> {
    table.writer(&identity).delete(id, &Precondition::Exists).await
}

async fn profile(profiles: Profiles, identity: Identity) -> Result<UpsertOutcome, Error> {
    profiles.update(&identity, &ProfileUpdate::default()).await
}

async fn read(profiles: Profiles, identity: Identity) -> Result<Option<Profile>, Error> {
    profiles.get(&identity).await
}

fn main() {}
