use clerk_auth::ConfigError;

/// An environment variable; an empty one counts as unset, since a template's parameter can be empty but not absent.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An environment variable that has to be there.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    var(name).ok_or(ConfigError::new(name, "is not set"))
}
