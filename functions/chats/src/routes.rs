use api::{Author, Body, Context, Identity, Path, Problem, Query, Table, etag, problems};
use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use store::{Chat, Chats, Created, Cursor, Id, Limit, NewChat, Page, Title};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::if_match::IfMatch;

/// Where each path leads.
pub fn router() -> Router<Context<Chats>> {
    Router::new().route("/chats", get(list).post(create)).route("/chats/{id}", get(read).patch(rename).delete(delete))
}

/// This function's part of the API's document.
#[derive(OpenApi)]
#[openapi(paths(list, create, read, rename, delete), components(schemas(Chat, Page)))]
pub struct Document;

problems!(ListProblems: InvalidQuery);
problems!(CreateProblems: body, IdConflict);
problems!(ReadProblems: InvalidId, NotFound);
problems!(RenameProblems: body, InvalidId, InvalidIfMatch, NotFound, VersionMismatch);
problems!(DeleteProblems: InvalidId, InvalidIfMatch, NotFound, VersionMismatch);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// How many chats a page holds at most.
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// Where the page begins: the `cursor` of the page before it.
    #[param(inline, required = false, nullable = false)]
    cursor: Option<Cursor>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewChat)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    /// An id of the caller's making, so that the creation can be sent again and the chat shown before the answer.
    id: Option<Id>,
    title: Title,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChatChange)]
#[serde(deny_unknown_fields)]
struct RenameBody {
    title: Title,
}

/// The caller's chats, newest created first.
#[utoipa::path(
    get, path = "/chats", operation_id = "listChats", tag = "chats",
    params(ListQuery),
    responses((status = 200, description = "A page of them.", body = Page), ListProblems)
)]
async fn list(
    identity: Identity,
    Table(chats): Table<Chats>,
    Query(ListQuery { limit, cursor }): Query<ListQuery>,
) -> Result<Body<Page>, Problem> {
    Ok(Body(chats.of(&identity).list(limit, cursor).await?))
}

/// Creates a chat.
///
/// Sent again with the same id and title, it creates nothing and answers with the chat as it is.
#[utoipa::path(
    post, path = "/chats", operation_id = "createChat", tag = "chats",
    request_body = CreateBody,
    responses(
        (status = 201, description = "The new chat.", body = Chat,
            headers(
                ("Location" = String, description = "Its path."),
                ("ETag" = String, description = "Its version, as an entity tag."),
            ),
            links(
            ("get" = (operation_id = "getChat", parameters(("id" = "$response.body#/id")))),
            ("rename" = (operation_id = "renameChat", parameters(("id" = "$response.body#/id")))),
            ("delete" = (operation_id = "deleteChat", parameters(("id" = "$response.body#/id")))),
        )),
        (status = 200, description = "The same creation had been made before; the chat as it is now.", body = Chat,
            headers(("ETag" = String, description = "Its version, as an entity tag."))),
        CreateProblems,
    )
)]
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

/// One chat.
#[utoipa::path(
    get, path = "/chats/{id}", operation_id = "getChat", tag = "chats",
    params(("id" = inline(Id), Path, description = "The chat's id.")),
    responses(
        (status = 200, description = "The chat.", body = Chat,
            headers(("ETag" = String, description = "Its version, as an entity tag."))),
        ReadProblems,
    )
)]
async fn read(
    identity: Identity,
    Table(chats): Table<Chats>,
    Path(id): Path<Id>,
) -> Result<impl IntoResponse, Problem> {
    chats.of(&identity).get(id).await?.map(tagged).ok_or_else(Problem::not_found)
}

/// Renames a chat.
#[utoipa::path(
    patch, path = "/chats/{id}", operation_id = "renameChat", tag = "chats",
    params(
        ("id" = inline(Id), Path, description = "The chat's id."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to rename; without it, whichever there is.",
            pattern = r#"^(\*|"[0-9]{1,19}")$"#, example = "\"1\"", nullable = false),
    ),
    request_body = RenameBody,
    responses(
        (status = 200, description = "The chat with its new title.", body = Chat,
            headers(("ETag" = String, description = "Its new version, as an entity tag."))),
        RenameProblems,
    )
)]
async fn rename(
    Author(author): Author,
    Table(chats): Table<Chats>,
    Path(id): Path<Id>,
    IfMatch(precondition): IfMatch,
    Body(RenameBody { title }): Body<RenameBody>,
) -> Result<impl IntoResponse, Problem> {
    Ok(tagged(chats.of_author(&author).rename(id, title, &precondition).await?))
}

/// Deletes a chat.
#[utoipa::path(
    delete, path = "/chats/{id}", operation_id = "deleteChat", tag = "chats",
    params(
        ("id" = inline(Id), Path, description = "The chat's id."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to delete; without it, whichever there is.",
            pattern = r#"^(\*|"[0-9]{1,19}")$"#, example = "\"1\"", nullable = false),
    ),
    responses((status = 204, description = "It is gone."), DeleteProblems)
)]
async fn delete(
    Author(author): Author,
    Table(chats): Table<Chats>,
    Path(id): Path<Id>,
    IfMatch(precondition): IfMatch,
) -> Result<StatusCode, Problem> {
    chats.of_author(&author).delete(id, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A chat with its version as entity tag.
fn tagged(chat: Chat) -> impl IntoResponse {
    ([(header::ETAG, etag(chat.version))], Body(chat))
}
