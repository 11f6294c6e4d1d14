use clerk_auth::{Config, ConfigError};
use store::{Accounts, Connections, Database, Profiles, Resource, Streams, Table};

use crate::Auth;

/// An environment variable. An empty one counts as unset, since a template's parameter can be empty but not absent.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

type Lookup = dyn Fn(&str) -> Option<String>;

/// A function's configuration, from its environment variables. Nothing else reads them.
pub struct Environment {
    var: Box<Lookup>,
    database: Database,
}

impl Environment {
    /// The variables that `var` looks up. A function's own are [`var()`].
    pub fn new(database: Database, var: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { var: Box::new(var), database }
    }

    /// A variable that must be set.
    fn required(&self, name: &str) -> Result<String, ConfigError> {
        (self.var)(name).ok_or_else(|| ConfigError::new(name.to_owned(), "is not set"))
    }

    /// A part of the function's state. An error names the variable that is missing or invalid.
    pub fn get<T: FromEnvironment>(&self) -> Result<T, ConfigError> {
        T::from_environment(self)
    }
}

/// A part of a function's state that environment variables configure.
pub trait FromEnvironment: Sized {
    /// An error names the variable that is missing or invalid.
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError>;
}

/// Verifies tokens as `CLERK_ISSUER` and the other variables of [`Config::from_env`] say, and checks sessions in the
/// tables of [`Accounts`].
impl FromEnvironment for Auth {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let config = Config::from_env(&environment.var)?;
        tracing::info!(?config, "configured");
        Ok(Self::new(config, environment.get()?))
    }
}

/// The tables in `USERS_TABLE` and `SESSIONS_TABLE`.
impl FromEnvironment for Accounts {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let (users, sessions) = (environment.required("USERS_TABLE")?, environment.required("SESSIONS_TABLE")?);
        Ok(Self::new(&environment.database, users, sessions))
    }
}

/// The table in `USERS_TABLE`.
impl FromEnvironment for Profiles {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self::new(&environment.database, environment.required("USERS_TABLE")?))
    }
}

/// The table in `CONNECTIONS_TABLE`.
impl FromEnvironment for Connections {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self::new(&environment.database, environment.required("CONNECTIONS_TABLE")?))
    }
}

/// The streams of the tables in `USERS_TABLE` and `SESSIONS_TABLE`, and of every other table.
impl FromEnvironment for Streams {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self::new(environment.required("USERS_TABLE")?, environment.required("SESSIONS_TABLE")?))
    }
}

/// The table in the variable of the resource's plural name, such as `CHATS_TABLE`.
impl<R: Resource> FromEnvironment for Table<R> {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let variable = format!("{}_TABLE", R::PLURAL.to_uppercase());
        let name = environment.required(&variable)?;
        Self::new(&environment.database, name).map_err(|error| ConfigError::new(variable, error.to_string()))
    }
}
