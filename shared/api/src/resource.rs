//! The operations of a [`Resource`]: list, create, get, update and delete, as routes and as their part of the API's
//! document.

use std::marker::PhantomData;

use axum::{
    extract::FromRef,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{self, MethodRouter},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use store::{CreateOutcome, Cursor, Id, Item, Limit, Page, Resource, Table};
use utoipa::{
    ToSchema,
    openapi::{HttpMethod, path::Paths},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    Auth, Body, IfMatch, Path, Problem, Query, ReadSession, Scoped, WriteSession, etag,
    members::{Change, Creation},
    openapi::Describe,
};

/// An operation of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET /chats`
    List,
    /// `POST /chats`
    Create,
    /// `GET /chats/{id}`
    Get,
    /// `PATCH /chats/{id}`
    Update,
    /// `DELETE /chats/{id}`
    Delete,
}

/// The operations of a resource at `path`, such as `/chats`. The items at a path with parameters, such as
/// `/chats/{chat}/notes`, are below those that the parameters identify: see [`Table::below`]. A parameter `{id}` becomes
/// `{parent}`, since `{id}` identifies the item.
pub fn resource<R: Resource + ToSchema>(path: &str) -> Operations<R> {
    Operations { path: path.replace("{id}", "{parent}"), without: Vec::new(), resource: PhantomData }
}

/// The operations of a resource.
pub struct Operations<R> {
    path: String,
    without: Vec<Operation>,
    resource: PhantomData<R>,
}

impl<R: Resource<Update: ToSchema> + ToSchema> Operations<R> {
    /// Omits an operation, or lets another handler replace it.
    #[must_use]
    pub fn without(mut self, operation: Operation) -> Self {
        self.without.push(operation);
        self
    }

    /// The routes and their document, for a state with the table.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> OpenApiRouter<S>
    where
        Auth: FromRef<S>,
        Table<R>: FromRef<S>,
    {
        let Self { path: collection, without, .. } = self;
        let item = format!("{collection}/{{id}}");
        let operations: [(_, _, _, MethodRouter<S>); 5] = [
            (Operation::List, &collection, HttpMethod::Get, routing::get(list::<R>)),
            (Operation::Create, &collection, HttpMethod::Post, routing::post(create::<R>)),
            (Operation::Get, &item, HttpMethod::Get, routing::get(get::<R>)),
            (Operation::Update, &item, HttpMethod::Patch, routing::patch(update::<R>)),
            (Operation::Delete, &item, HttpMethod::Delete, routing::delete(delete::<R>)),
        ];
        let mut router = OpenApiRouter::default();
        for (operation, path, method, handler) in operations {
            if without.contains(&operation) {
                continue;
            }
            // Only a debug build prints the document. Building it would be a third of the start's instructions.
            router = if cfg!(debug_assertions) {
                let mut paths = Paths::new();
                paths.add_path_operation(path, vec![method], Describe::<R>::operation(operation, path));
                router.routes((Describe::<R>::schemas(), paths, handler))
            } else {
                router.route(path, handler)
            };
        }
        router
    }
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

async fn list<R: Resource>(
    session: ReadSession,
    Scoped(table): Scoped<R>,
    Query(ListQuery { limit, cursor }): Query<ListQuery>,
) -> Result<Listed<R>, Problem> {
    Ok(Listed(table.reader(&session).list(limit, cursor).await?))
}

async fn create<R: Resource>(
    session: WriteSession,
    Scoped(table): Scoped<R>,
    uri: Uri,
    Body(Creation(item)): Body<Creation<R>>,
) -> Result<Response, Problem> {
    Ok(match table.writer(&session).create(item).await? {
        CreateOutcome::Created(item) => {
            let location = [(header::LOCATION, format!("{}/{}", uri.path(), item.id))];
            (StatusCode::CREATED, location, Tagged(item)).into_response()
        }
        CreateOutcome::Replayed(item) => Tagged(item).into_response(),
    })
}

async fn get<R: Resource>(
    session: ReadSession,
    Scoped(table): Scoped<R>,
    Path(id): Path<Id>,
) -> Result<Tagged<R>, Problem> {
    Ok(Tagged(table.reader(&session).get(id).await?))
}

async fn update<R: Resource>(
    session: WriteSession,
    Scoped(table): Scoped<R>,
    Path(id): Path<Id>,
    IfMatch(precondition): IfMatch,
    Body(Change(update)): Body<Change<R::Update>>,
) -> Result<Tagged<R>, Problem> {
    Ok(Tagged(table.writer(&session).update(id, update, &precondition).await?))
}

async fn delete<R: Resource>(
    session: WriteSession,
    Scoped(table): Scoped<R>,
    Path(id): Path<Id>,
    IfMatch(precondition): IfMatch,
) -> Result<StatusCode, Problem> {
    table.writer(&session).delete(id, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Responds with an item, and with its version as entity tag.
pub struct Tagged<R>(pub Item<R>);

impl<R: Resource> IntoResponse for Tagged<R> {
    fn into_response(self) -> Response {
        ([(header::ETAG, etag(self.0.version))], Body(ItemBody::from(&self.0))).into_response()
    }
}

/// Responds with a page of items.
pub struct Listed<R>(pub Page<R>);

impl<R: Resource> IntoResponse for Listed<R> {
    fn into_response(self) -> Response {
        Body(PageBody(&self.0)).into_response()
    }
}

/// An item as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemBody<'a, R> {
    id: Id,
    #[serde(flatten)]
    value: &'a R,
    created_at: u64,
    updated_at: u64,
    version: u64,
}

impl<'a, R> From<&'a Item<R>> for ItemBody<'a, R> {
    fn from(item: &'a Item<R>) -> Self {
        let Item { id, value, created_at, updated_at, version } = item;
        Self { id: *id, value, created_at: *created_at, updated_at: *updated_at, version: *version }
    }
}

/// A page as clients see it: the items are in a member with the resource's plural name.
struct PageBody<'a, R>(&'a Page<R>);

impl<R: Resource> Serialize for PageBody<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Page { items, cursor } = self.0;
        let mut page = serializer.serialize_struct("Page", 2)?;
        page.serialize_field(R::PLURAL, &items.iter().map(ItemBody::from).collect::<Vec<_>>())?;
        page.serialize_field("cursor", cursor)?;
        page.end()
    }
}
