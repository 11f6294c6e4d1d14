//! The form in which personal details are stored and shown, whether a user, a token or a webhook supplied them.

/// The longest email address: RFC 5321, section 4.5.3.1.3, without the angle brackets.
pub const MAX_EMAIL_CHARS: usize = 254;
/// The longest first or last name, in Unicode scalar values.
pub const MAX_NAME_CHARS: usize = 200;
/// The longest URL of a picture. Browsers and proxies do not handle all longer ones.
pub const MAX_IMAGE_URL_CHARS: usize = 2048;

/// Normalizes a value. None if nothing usable is left.
pub(crate) type Normalize = fn(&str) -> Option<String>;

/// An email address, by its form. Only Clerk can verify that it is the user's.
pub fn normalize_email(text: &str) -> Option<String> {
    let email = trim(text);
    let is_plain = !email.chars().any(|char| breaks_text(char) || char.is_whitespace());
    let has_parts = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    (is_plain && has_parts && email.chars().count() <= MAX_EMAIL_CHARS).then(|| email.to_owned())
}

/// A first or last name. Clerk accepts names with characters that break text; they are removed, and the name is cut, so
/// that no event fails because of them.
pub fn normalize_name(text: &str) -> Option<String> {
    let safe = |char: char| if breaks_text(char) { char.is_whitespace().then_some(' ') } else { Some(char) };
    let name: String = trim(text).chars().filter_map(safe).take(MAX_NAME_CHARS).collect();
    Some(trim(&name).to_owned()).filter(|name| !name.is_empty())
}

/// The URL of a picture. Only `https`: front ends put it into pages unchanged, so `javascript:` must be rejected. The
/// parser accepts line breaks and quotes that could break out of an attribute, so its serialization is stored.
pub fn normalize_image_url(text: &str) -> Option<String> {
    let url = url::Url::parse(trim(text)).ok().filter(|url| url.scheme() == "https")?;
    Some(String::from(url)).filter(|url| url.len() <= MAX_IMAGE_URL_CHARS)
}

/// Removes white space around a text, and joiners and variation selectors before it, which are invisible without a
/// character in front of them.
pub fn trim(text: &str) -> &str {
    let is_invisible = |char| matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
    text.trim_start_matches(|char: char| char.is_whitespace() || is_invisible(char)).trim_end()
}

/// Whether a character does not belong in one line of text: controls and line breaks; characters that reorder the text
/// around them; and invisible ones, except for the joiners and selectors that emoji and several scripts need.
fn breaks_text(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}')
}
