use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use store::Precondition;

use crate::{Auth, Code, Problem, session::session_problem_or};

/// More entity tags than a well-behaved client sends.
const MAX_TAGS: usize = 100;

/// The precondition of a write in the header `If-Match` (RFC 9110, section 13.1.1). Without the header, it is that the
/// item exists.
pub struct IfMatch(pub Precondition);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut fields = parts.headers.get_all(header::IF_MATCH).iter().peekable();
        if fields.peek().is_none() {
            return Ok(Self(Precondition::Exists));
        }
        let fields: Option<Vec<&str>> = fields.map(|field| field.to_str().ok()).collect();
        match fields.and_then(|fields| Self::parse(&fields.join(","))) {
            Some(precondition) => Ok(precondition),
            None => Err(session_problem_or(malformed(), parts, state).await),
        }
    }
}

impl IfMatch {
    /// The precondition of the header's value, unless the value is malformed.
    pub fn parse(field: &str) -> Option<Self> {
        if field.trim() == "*" {
            return Some(Self(Precondition::Exists));
        }
        let tags: Option<Vec<&str>> = field.split(',').map(entity_tag).collect();
        let tags = tags.filter(|tags| tags.len() <= MAX_TAGS)?;
        // A tag that this API did not issue is valid, but matches no item.
        Some(Self(Precondition::VersionIn(tags.into_iter().filter_map(version).collect())))
    }
}

fn malformed() -> Problem {
    Problem::new(
        Code::InvalidIfMatch,
        "The If-Match header is malformed. Send an ETag exactly as received, quotes included, or *.",
    )
}

/// An entity tag, weak or strong (RFC 9110, section 8.8.3).
fn entity_tag(text: &str) -> Option<&str> {
    let text = text.trim();
    let opaque = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?;
    (!opaque.contains('"')).then_some(text)
}

/// The version of a strong tag. If-Match compares strongly, so weak tags match no item.
fn version(tag: &str) -> Option<u64> {
    let text = tag.trim_matches('"');
    // Tags are compared octet by octet (RFC 9110, section 8.8.3.2): "01" is not "1".
    text.parse().ok().filter(|version: &u64| version.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_follows_rfc_9110() {
        let parse = |field: &str| IfMatch::parse(field).map(|if_match| if_match.0);
        let versions = |versions: &[u64]| Some(Precondition::VersionIn(versions.to_vec()));
        let cases = [
            ("*", Some(Precondition::Exists)),
            (" * ", Some(Precondition::Exists)),
            ("\"3\"", versions(&[3])),
            ("\"3\" , \"4\"", versions(&[3, 4])),
            ("W/\"3\"", versions(&[])),
            ("\"of-another-api\"", versions(&[])),
            ("\"-1\"", versions(&[])),
            ("\"01\"", versions(&[])),
            ("\"+1\"", versions(&[])),
            ("\"\"", versions(&[])),
            ("3", None),
            ("", None),
            ("\"3", None),
            ("\"3\"4\"", None),
            ("*, \"3\"", None),
        ];
        for (field, expected) in cases {
            assert_eq!(parse(field), expected, "{field}");
        }
        assert_eq!(parse(&vec!["\"1\""; MAX_TAGS + 1].join(",")), None);
    }
}
