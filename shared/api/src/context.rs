use axum::extract::FromRef;
use clerk_auth::ConfigError;
use store::{Profiles, Resource, Table};

use crate::{Auth, Environment, FromEnvironment};

/// The state of a function with one table. A function with several tables has a struct of its own, with
/// `#[derive(Clone, FromRef)]`.
#[derive(Clone)]
pub struct Context<T> {
    auth: Auth,
    table: T,
}

impl<T: FromEnvironment> FromEnvironment for Context<T> {
    fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self { auth: environment.get()?, table: environment.get()? })
    }
}

impl<T> FromRef<Context<T>> for Auth {
    fn from_ref(context: &Context<T>) -> Self {
        context.auth.clone()
    }
}

impl<R: Resource> FromRef<Context<Self>> for Table<R> {
    fn from_ref(context: &Context<Self>) -> Self {
        context.table.clone()
    }
}

impl FromRef<Context<Self>> for Profiles {
    fn from_ref(context: &Context<Self>) -> Self {
        context.table.clone()
    }
}
