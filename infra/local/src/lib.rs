//! The local stack: DynamoDB, a development Clerk and the functions on one machine.
//!
//! The program is for developers. The crate `test-support` and the benchmark use its [`dynamodb`] engine.

// The program prints its results.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod api;
pub mod clerk;
mod cli;
mod cloudformation;
mod dashboard;
mod docker;
pub mod doctor;
pub mod dynamodb;
mod files;
mod functions;
mod guard;
mod invoker;
mod logs;
mod next;
mod proxy;
mod reconcile;
mod samples;
mod scaffold;
mod stack;
mod streams;
pub mod template;
mod web;
mod websocket;

pub use cli::{Cli, origin};
pub use stack::Live;
