//! The form of values that Clerk sends.

/// A DynamoDB key holds 2048 bytes; Clerk's ids have some thirty.
const MAX_ID_BYTES: usize = 256;

/// Whether a text can be an id, and so a key in the database.
pub(crate) fn is_valid_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID_BYTES
}

/// A text without the white space around it. Blank counts as missing.
pub(crate) fn present_text(text: String) -> Option<String> {
    let trimmed = text.trim();
    match trimmed.len() {
        0 => None,
        length if length == text.len() => Some(text),
        _ => Some(trimmed.to_owned()),
    }
}
