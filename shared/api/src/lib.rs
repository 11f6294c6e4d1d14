//! Shared code of the HTTP functions: a resource's operations, extractors, problems, start-up and logging.
//!
//! A [`resource`] gets its routes and its document from its type. Every other handler is an ordinary axum handler, whose
//! signature shows its access: it reads with a [`ReadSession`] and writes with a [`WriteSession`]. Without one of them,
//! the [`store`] opens no user's data; with one, only that user's.
//!
//! ```
//! use api::{Listed, Problem, ReadSession};
//! use axum::extract::State;
//! use store::{Limit, Resource, Table};
//!
//! async fn newest<R: Resource>(session: ReadSession, State(table): State<Table<R>>) -> Result<Listed<R>, Problem> {
//!     Ok(Listed(table.reader(&session).list(Limit::default(), None).await?))
//! }
//! ```

mod body;
mod code;
pub mod connect;
mod context;
mod env;
pub mod events;
mod if_match;
mod log;
mod members;
pub mod openapi;
mod params;
mod problem;
mod rejection;
mod resource;
mod run;
mod session;
mod text;

pub use body::Body;
pub use clerk_auth::ConfigError;
pub use code::Code;
pub use context::Context;
pub use env::{Environment, FromEnvironment, var};
pub use if_match::IfMatch;
pub use log::{BatchOutcome, EventOutcome, JobOutcome};
pub use params::{Path, Query, Scoped};
pub use problem::{Problem, etag};
pub use resource::{Listed, Operation, Operations, Tagged, resource};
pub use run::{consume, job, run, serve};
pub use session::{Auth, ReadSession, WriteSession};
pub use text::{Line, LineFormat, Text, TextFormat};
pub use utoipa_axum::{router::OpenApiRouter, routes};
