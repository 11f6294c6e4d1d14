//! The flows that matter, over the real stack: the function binaries under the Lambda Runtime API, DynamoDB's engine and
//! the development Clerk, all started once for this test binary.

mod chats;
mod client;
mod events;
mod isolation;
mod profile;
mod requests;
mod signed_out;
mod stack;
mod webhook;
