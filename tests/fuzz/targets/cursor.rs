//! Any text is either rejected as a cursor or an id, or its parsed value has the same text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use store::{Cursor, Id};

fuzz_target!(|text: &str| {
    if let Ok(cursor) = Cursor::try_from(text.to_owned()) {
        assert_eq!(String::from(cursor), text);
    }
    if let Ok(id) = text.parse::<Id>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
});
