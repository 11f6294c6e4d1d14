//! End-to-end tests of the local stack: function binaries under the Lambda Runtime API, DynamoDB's engine and the
//! development Clerk, started once for this test binary.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

mod aws;
mod client;
mod connect;
#[cfg(feature = "contract")]
mod contract;
mod docker;
mod doctor;
mod documents;
mod events;
mod faults;
mod guards;
mod guide;
mod invalid_events;
mod live;
mod managed_instances;
mod permissions;
mod profile;
mod random_faults;
mod reconcile;
mod reload;
mod requests;
mod resource;
mod sample;
mod signed_out;
mod socket;
mod stack;
mod standalone;
mod tools;
mod webhook;
