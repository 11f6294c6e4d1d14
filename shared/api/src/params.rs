use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams, rejection::QueryRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use store::{Id, Resource, Table};

use crate::{Code, Problem};

/// The parameter `{id}` of the path.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = parameters(parts, state).await?;
        let id = parameters.iter().find(|(name, _)| *name == "id");
        let (_, id) = id.ok_or_else(|| Problem::internal("the route has no parameter {id}"))?;
        parse(id).map(Self)
    }
}

/// The table of a resource, limited to the items below those that the path's parameters identify. The parameter `{id}` is
/// not one of them: it identifies an item. At a path without other parameters, it is the whole table.
pub struct Scoped<R>(pub Table<R>);

impl<S: Send + Sync, R: Resource> FromRequestParts<S> for Scoped<R>
where
    Table<R>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut table = Table::from_ref(state);
        let parameters = parameters(parts, state).await?;
        for (_, parent) in parameters.iter().filter(|(name, _)| *name != "id") {
            table = table.below(parse::<Id>(parent)?);
        }
        Ok(Self(table))
    }
}

async fn parameters<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    parameters.map_err(|_| Problem::new(Code::InvalidId, "The id in the path is not UTF-8."))
}

fn parse<T: FromStr<Err: Display>>(id: &str) -> Result<T, Problem> {
    id.parse().map_err(|error| Problem::new(Code::InvalidId, format!("Invalid id in the path: {error}.")))
}

/// The query string.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(query)| Self(query)).map_err(
            |rejection: QueryRejection| {
                let text = rejection.body_text();
                let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Problem::new(Code::InvalidQuery, format!("Invalid query string: {reason}."))
            },
        )
    }
}
