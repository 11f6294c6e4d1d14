//! Functions in Docker, by `sam local`. Where no Docker engine answers there is nothing to test, and that is said.

use std::{
    io::{self, Write},
    process::Command,
};

use serde_json::Value;

use crate::{
    events::SAMPLES,
    stack::{stack, workspace},
};

fn docker_answers() -> bool {
    Command::new("docker").arg("info").output().is_ok_and(|info| info.status.success())
}

#[test]
fn each_function_succeeds_in_docker_on_its_sample() {
    if !docker_answers() {
        // Past the harness, which keeps what tests print to itself.
        writeln!(io::stderr(), "skipped: each_function_succeeds_in_docker_on_its_sample; no Docker engine answers")
            .expect("standard error is there");
        return;
    }
    let built = Command::new("make").arg("build-here").current_dir(workspace()).status().expect("make runs");
    assert!(built.success(), "the functions do not build");
    for (function, sample, status) in SAMPLES {
        let printed = stack().local(&["invoke", function, sample]);
        // The last line is the answer; the function's log goes elsewhere.
        let answer: Value = printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert_eq!(answer["statusCode"], status, "{sample}: {printed}");
    }
}

#[test]
fn where_docker_is_missing_invoking_says_so() {
    if docker_answers() {
        return;
    }
    let invoked = stack().run(&["invoke", "chats", "list-chats"]);
    let said = String::from_utf8_lossy(&invoked.stderr);
    assert!(!invoked.status.success(), "{said}");
    assert!(["Docker", "make invoke"].iter().any(|word| said.contains(word)), "{said}");
}
