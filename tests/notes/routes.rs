use api::{Author, Body, Context, Identity, Path, Problem, Table};
use axum::{
    Router,
    http::StatusCode,
    routing::{delete, get},
};
use serde::Deserialize;
use store::{Id, Note, Notes, Text};

pub(crate) fn router() -> Router<Context<Notes>> {
    Router::new().route("/notes", get(newest).post(create)).route("/notes/{id}", delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    text: Text,
}

async fn newest(identity: Identity, Table(notes): Table<Notes>) -> Result<Body<Vec<Note>>, Problem> {
    Ok(Body(notes.of(&identity).newest().await?))
}

async fn create(
    Author(author): Author,
    Table(notes): Table<Notes>,
    Body(CreateBody { text }): Body<CreateBody>,
) -> Result<(StatusCode, Body<Note>), Problem> {
    Ok((StatusCode::CREATED, Body(notes.of_author(&author).create(text).await?)))
}

async fn remove(Author(author): Author, Table(notes): Table<Notes>, Path(id): Path<Id>) -> Result<StatusCode, Problem> {
    notes.of_author(&author).delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
