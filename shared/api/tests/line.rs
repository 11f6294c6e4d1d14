//! Lines of text that the API accepts, and its sentences for those that it rejects.

#![allow(clippy::expect_used, reason = "a test fails where something is missing")]

use api::Line;
use serde_json::{from_value, json};

fn parse(text: &str) -> Result<Line<200>, String> {
    from_value(json!(text)).map_err(|error| error.to_string())
}

#[test]
fn lines_are_trimmed() {
    assert_eq!(json!(parse("  plans\n").expect("a line")), "plans");
}

#[test]
fn lines_have_1_to_200_characters() {
    for blank in ["", " ", "\t\n"] {
        assert!(parse(blank).is_err_and(|error| error.contains("at least one character")), "{blank:?}");
    }
    // Characters, not bytes.
    assert!(parse(&"ä".repeat(200)).is_ok());
    assert!(parse(&"ä".repeat(201)).is_err_and(|error| error.contains("at most 200 characters")));
}

#[test]
fn lines_have_no_control_characters() {
    for text in ["a\nb", "a\tb", "a\0b", "a\u{85}b"] {
        assert!(parse(text).is_err_and(|error| error.contains("control characters")), "{text:?}");
    }
}
