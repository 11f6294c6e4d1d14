use api::{Author, Body, Context, Identity, Path, Problem, Query, Table, etag};
use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use store::{Chat, ChatId, Chats, Created, Cursor, Limit, NewChat, Page, Title};

use crate::if_match::IfMatch;

pub(crate) fn router() -> Router<Context<Chats>> {
    Router::new().route("/chats", get(list).post(create)).route("/chats/{id}", get(read).patch(rename).delete(delete))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    id: Option<ChatId>,
    title: Title,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameBody {
    title: Title,
}

async fn list(
    identity: Identity,
    Table(chats): Table<Chats>,
    Query(ListQuery { limit, cursor }): Query<ListQuery>,
) -> Result<Body<Page>, Problem> {
    Ok(Body(chats.of(&identity).list(limit, cursor).await?))
}

async fn create(
    Author(author): Author,
    Table(chats): Table<Chats>,
    Body(CreateBody { id, title }): Body<CreateBody>,
) -> Result<Response, Problem> {
    match chats.of_author(&author).create(NewChat { id, title }).await? {
        Created::New(chat) => {
            let location = [(header::LOCATION, format!("/chats/{}", chat.id))];
            Ok((StatusCode::CREATED, location, tagged(chat)).into_response())
        }
        Created::Already(chat) => Ok(tagged(chat).into_response()),
    }
}

async fn read(
    identity: Identity,
    Table(chats): Table<Chats>,
    Path(id): Path<ChatId>,
) -> Result<impl IntoResponse, Problem> {
    chats.of(&identity).get(id).await?.map(tagged).ok_or_else(Problem::not_found)
}

async fn rename(
    Author(author): Author,
    Table(chats): Table<Chats>,
    Path(id): Path<ChatId>,
    IfMatch(precondition): IfMatch,
    Body(RenameBody { title }): Body<RenameBody>,
) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(chats.of_author(&author).rename(id, title, &precondition).await?))
}

async fn delete(
    Author(author): Author,
    Table(chats): Table<Chats>,
    Path(id): Path<ChatId>,
    IfMatch(precondition): IfMatch,
) -> Result<StatusCode, Problem> {
    chats.of_author(&author).delete(id, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A chat with its version as entity tag.
fn tagged(chat: Chat) -> impl IntoResponse {
    ([(header::ETAG, etag(chat.version))], Body(chat))
}
