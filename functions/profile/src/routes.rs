use api::{Author, Body, Context, Identity, Problem, Table};
use axum::{Router, http::StatusCode, routing::get};
use store::{Details, Profile, Profiles, Put};

pub(crate) fn router() -> Router<Context<Profiles>> {
    Router::new().route("/profile", get(read).put(write))
}

async fn read(identity: Identity, Table(profiles): Table<Profiles>) -> Result<Body<Profile>, Problem> {
    profiles.of(&identity).get().await?.map(Body).ok_or_else(Problem::not_found)
}

async fn write(
    Author(author): Author,
    Table(profiles): Table<Profiles>,
    Body(details): Body<Details>,
) -> Result<(StatusCode, Body<Profile>), Problem> {
    Ok(match profiles.of_author(&author).put(&details).await? {
        Put::Created(profile) => (StatusCode::CREATED, Body(profile)),
        Put::Present(profile) => (StatusCode::OK, Body(profile)),
    })
}
