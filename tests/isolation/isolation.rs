//! Isolation by type: each case is an attack or a forgotten check, and the compiler's message is the expected one.
//!
//! `TRYBUILD=overwrite cargo test -p isolation` writes the messages again, for example for a newer compiler. Read what has
//! changed: each must name the missing proof and nothing else.

#[test]
fn data_is_not_reachable_without_proof() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
