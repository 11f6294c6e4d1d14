//! Messages of serde as sentences for clients.

/// Why a value is rejected. `path` is that of the member or parameter, and empty for the `whole`.
pub(crate) fn sentence(whole: &str, path: &str, reason: &str) -> String {
    let field = |prefix| reason.strip_prefix(prefix).map(|rest: &str| rest.split_once(", ").unwrap_or((rest, "")));
    let subject = if path.is_empty() { whole.to_owned() } else { format!("`{path}`") };
    if let Some((field, _)) = field("missing field ") {
        return format!("{subject} has no {field}. Send it.");
    }
    if let Some((field, _)) = field("duplicate field ") {
        return format!("{whole} has {field} twice. Send it once.");
    }
    if let Some((field, expected)) = field("unknown field ") {
        let known = expected.strip_prefix("expected ").map(|known| known.trim_start_matches("one of "));
        let known = known.map(|known| format!(" Known names: {}.", known.replace(" or ", ", "))).unwrap_or_default();
        return format!("{whole} must not have {field}.{known}");
    }
    for prefix in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) = reason.strip_prefix(prefix).and_then(|rest| rest.split_once(", expected ")) {
            return format!("{subject} must be {expected}, not {found}.");
        }
    }
    match reason.strip_prefix("it ") {
        Some(reason) => format!("{subject} {reason}."),
        None => format!("{subject} is invalid: {reason}."),
    }
}
