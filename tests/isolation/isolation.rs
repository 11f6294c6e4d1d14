//! Isolation by type: each case is an attack or a missing check, which must fail with the expected compiler message.
//!
//! `TRYBUILD=overwrite cargo test --workspace --test isolation` updates the messages, for example for a newer compiler.
//! Review the changes: each message must name only the missing proof.

#[test]
fn data_is_not_reachable_without_proof() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
