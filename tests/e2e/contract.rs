//! schemathesis tests the API against `docs/openapi.json`, with all of its checks.

use serde_json::json;

use crate::{
    client::User,
    stack::{program, stack, workspace},
};

#[tokio::test]
async fn schemathesis_finds_nothing() {
    let ada = User::sign_up("Ada");
    let token = json!([program("local"), "token", "--user", ada.id]);
    let status = stack()
        .command(&workspace().join(".tools/schemathesis/bin/schemathesis"))
        .args(["--config-file", "tests/contract/schemathesis.toml", "run", "docs/openapi.json"])
        .args(["--url", &stack().api(), "--checks", "all", "--max-examples", "100", "--continue-on-failure"])
        // The same seed for each run unless SEED is set, so that failures are reproducible.
        .args(["--seed", &std::env::var("SEED").unwrap_or_else(|_| "1".to_owned())])
        .env("TOKEN_COMMAND", token.to_string())
        .status()
        .expect("schemathesis runs; `make test-contract` sets it up");
    assert!(status.success(), "it prints above what it found, and how to try that again");
}
