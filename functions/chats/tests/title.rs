//! Titles of chats: what the API accepts, and the sentences with which it rejects the rest.

use serde_json::{from_value, json};
use store::Title;

fn parse(text: &str) -> Result<Title, String> {
    from_value(json!(text)).map_err(|error| error.to_string())
}

#[test]
fn titles_are_trimmed() {
    assert_eq!(json!(parse("  plans\n").expect("a title")), "plans");
}

#[test]
fn titles_have_1_to_200_characters() {
    for blank in ["", " ", "\t\n"] {
        assert!(parse(blank).is_err_and(|error| error.contains("at least one character")), "{blank:?}");
    }
    // Characters, not bytes.
    assert!(parse(&"ä".repeat(200)).is_ok());
    assert!(parse(&"ä".repeat(201)).is_err_and(|error| error.contains("at most 200 characters")));
}

#[test]
fn titles_have_no_control_characters() {
    for text in ["a\nb", "a\tb", "a\0b", "a\u{85}b"] {
        assert!(parse(text).is_err_and(|error| error.contains("control characters")), "{text:?}");
    }
}
