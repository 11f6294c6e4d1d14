//! Parameters of paths and queries. An invalid one is a problem only after the session check: a request without a valid
//! session gets 401.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams, rejection::QueryRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use store::{Id, Resource, Table};

use crate::{Auth, Code, Problem, rejection::sentence, session::session_problem_or};

/// The parameter `{id}` of the path.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err: Display> + Send> FromRequestParts<S> for Path<T>
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = parameters(parts, state).await.and_then(|parameters| {
            let id = parameters.iter().find(|(name, _)| *name == "id");
            let (_, id) = id.ok_or_else(|| Problem::internal("the route has no parameter {id}"))?;
            parse(id)
        });
        match id {
            Ok(id) => Ok(Self(id)),
            Err(problem) => Err(session_problem_or(problem, parts, state).await),
        }
    }
}

/// The table of a resource, limited to the items below those that the path's parameters identify. The parameter `{id}` is
/// not one of them: it identifies an item. At a path without other parameters, it is the whole table.
pub struct Scoped<R>(pub Table<R>);

impl<S: Send + Sync, R: Resource> FromRequestParts<S> for Scoped<R>
where
    Auth: FromRef<S>,
    Table<R>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let table = parameters(parts, state).await.and_then(|parameters| {
            let mut parents = parameters.iter().filter(|(name, _)| *name != "id");
            parents.try_fold(Table::from_ref(state), |table, (_, parent)| Ok(table.below(parse::<Id>(parent)?)))
        });
        match table {
            Ok(table) => Ok(Self(table)),
            Err(problem) => Err(session_problem_or(problem, parts, state).await),
        }
    }
}

async fn parameters<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    parameters.map_err(|_| Problem::new(Code::InvalidId, "The id in the path is not UTF-8. Encode it as UTF-8."))
}

fn parse<T: FromStr<Err: Display>>(id: &str) -> Result<T, Problem> {
    id.parse()
        .map_err(|error: T::Err| Problem::new(Code::InvalidId, sentence("The id in the path", "", &error.to_string())))
}

/// The query string.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T>
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(session_problem_or(invalid_query(&rejection), parts, state).await),
        }
    }
}

fn invalid_query(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    // The path of a parameter, if there is one, has no spaces.
    let (parameter, reason) = reason.split_once(": ").filter(|(path, _)| !path.contains(' ')).unwrap_or(("", reason));
    Problem::new(Code::InvalidQuery, sentence("The query string", parameter, reason))
}
