//! The behavior of every resource, tested with the sample of each function: `functions/*/sample.json`.

mod bodies;
mod document;
mod isolation;
mod items;
mod lists;
mod lost_responses;
mod preconditions;
mod routes;
mod sessions;
