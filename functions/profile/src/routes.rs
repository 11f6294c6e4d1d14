use api::{Author, Body, Context, Identity, Problem, Table, problems};
use axum::{Router, http::StatusCode, routing::get};
use store::{Details, Profile, Profiles, Put};
use utoipa::OpenApi;

/// Where each path leads.
pub fn router() -> Router<Context<Profiles>> {
    Router::new().route("/profile", get(read).put(write))
}

/// This function's part of the API's document.
#[derive(OpenApi)]
#[openapi(paths(read, write), components(schemas(Profile)))]
pub struct Document;

problems!(ReadProblems: NotFound);
problems!(WriteProblems: body, ClaimMismatch);

/// The caller's profile.
///
/// Clerk's webhook makes it when somebody signs up; until it has landed there is none, and `PUT` makes one.
#[utoipa::path(
    get, path = "/profile", operation_id = "getProfile", tag = "profile",
    responses((status = 200, description = "The profile.", body = Profile), ReadProblems)
)]
async fn read(identity: Identity, Table(profiles): Table<Profiles>) -> Result<Body<Profile>, Problem> {
    profiles.of(&identity).get().await?.map(Body).ok_or_else(Problem::not_found)
}

/// Creates the caller's profile or brings it up to date.
///
/// The token's claims are Clerk's word; the body fills only what Clerk has not said yet.
#[utoipa::path(
    put, path = "/profile", operation_id = "putProfile", tag = "profile",
    request_body = Details,
    responses(
        (status = 201, description = "There was no profile; this is it now.", body = Profile),
        (status = 200, description = "The profile as it is now.", body = Profile),
        WriteProblems,
    )
)]
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
