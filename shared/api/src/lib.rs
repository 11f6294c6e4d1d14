//! What the functions share: problems, extractors, start-up and logging.
//!
//! A handler says in its signature what it needs. An argument of type [`Identity`] makes it one for signed-in people:
//! without a token that verifies, it is not called. A handler without one gets no identity, and without an identity the
//! [`store`] opens nobody's data. A handler that writes has an [`Author`] instead.
//!
//! ```
//! use api::{Body, Identity, Problem, Table};
//! use store::{Chats, Limit, Page};
//!
//! async fn newest(identity: Identity, Table(chats): Table<Chats>) -> Result<Body<Page>, Problem> {
//!     Ok(Body(chats.of(&identity).list(Limit::default(), None).await?))
//! }
//! # let _: axum::routing::MethodRouter<api::Context<Chats>> = axum::routing::get(newest);
//! ```

mod body;
mod code;
mod context;
mod env;
pub mod events;
mod log;
pub mod openapi;
mod params;
mod problem;
mod run;

pub use body::Body;
pub use clerk_auth::Identity;
pub use code::Code;
pub use context::{Author, Context, Table};
pub use env::{required, var};
pub use log::EventOutcome;
pub use params::{Path, Query};
pub use problem::{Problem, etag};
pub use run::{Service, run};
