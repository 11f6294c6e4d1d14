//! The configuration of the SDK's clients.

use std::{
    borrow::Cow,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, identity::IdentityCache, provider_config::ProviderConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::{
    identity::{IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver},
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::config_bag::ConfigBag;
use serde::Deserialize;

use crate::http_client;

/// The error codes by which services reject a request's credentials or signature, in any protocol. A retry can succeed:
/// with renewed credentials, or signed at the current time.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html>
pub const REJECTED_CREDENTIALS: [&str; 17] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// The configuration of an SDK client for `service` (such as `DYNAMODB`), from the variables that Lambda sets. `var` looks
/// up an environment variable; an empty one counts as unset.
///
/// - The region is `AWS_REGION`.
/// - Credentials are in the environment or, if a function can outlive those (such as one that was snapshotted), at the
///   URL `AWS_CONTAINER_CREDENTIALS_FULL_URI`. The SDK's providers read these variables themselves. A function has no other
///   credentials: the profiles, roles and other sources of [`aws_config::defaults`] would make up a twelfth of a program.
/// - `AWS_ENDPOINT_URL_<service>` or `AWS_ENDPOINT_URL`, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT` and
///   `AWS_CA_BUNDLE` have the same meaning as for every SDK
///   (<https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>).
///
/// The second value must be set as a retry classifier of the client, so that rejected credentials are fetched again.
pub fn sdk_config(service: &str, var: impl Fn(&str) -> Option<String>) -> (SdkConfig, CredentialRefresh) {
    let var = |name: &str| var(name).filter(|value| !value.is_empty());
    let http_client = http_client(var("AWS_CA_BUNDLE").as_deref().map(Path::new));
    let flag = |name: &str| var(name).map(|value| value.eq_ignore_ascii_case("true"));
    let provider = ProviderConfig::without_region().with_http_client(http_client.clone());
    // Not a chain of both, since a chain logs what a provider quotes of an invalid response.
    let credentials = if var("AWS_ACCESS_KEY_ID").is_some() {
        SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
    } else {
        SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(&provider).build())
    };
    let refresh = CredentialRefresh(Arc::new(Mutex::new(IdentityCache::lazy().build())));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(var("AWS_REGION").map(Region::new))
        .credentials_provider(credentials)
        .identity_cache(refresh.clone())
        .http_client(http_client);
    config.set_endpoint_url(var(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| var("AWS_ENDPOINT_URL")));
    config.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    (config.build(), refresh)
}

/// A cache of credentials that is cleared when a service rejects them, after which the request is retried. Credentials can
/// expire while Lambda has the environment frozen.
#[derive(Clone, Debug)]
pub struct CredentialRefresh(Arc<Mutex<SharedIdentityCache>>);

impl ResolveCachedIdentity for CredentialRefresh {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        IdentityFuture::new(async move { cache.resolve_cached_identity(resolver, components, config).await })
    }
}

impl ClassifyRetry for CredentialRefresh {
    fn name(&self) -> &'static str {
        "CredentialRefresh"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        /// An error in the protocols of both services, JSON 1.0 and 1.1.
        #[derive(Deserialize)]
        struct ErrorBody<'a> {
            #[serde(borrow, rename = "__type")]
            kind: Cow<'a, str>,
        }
        let response = context.response().filter(|response| response.status().is_client_error());
        let body = response.and_then(|response| response.body().bytes());
        let Some(ErrorBody { kind }) = body.and_then(|body| serde_json::from_slice(body).ok()) else {
            return RetryAction::NoActionIndicated;
        };
        // A namespace can precede it.
        let code = kind.rsplit('#').next().unwrap_or_default();
        if !REJECTED_CREDENTIALS.contains(&code) {
            return RetryAction::NoActionIndicated;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = IdentityCache::lazy().build();
        RetryAction::transient_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(service: &str, variables: &[(&str, &str)]) -> SdkConfig {
        let var = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        sdk_config(service, var).0
    }

    #[test]
    fn a_services_own_endpoint_takes_precedence_and_empty_variables_count_as_unset() {
        let mut variables = [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2"),
            ("AWS_USE_FIPS_ENDPOINT", "TRUE"),
            ("AWS_USE_DUALSTACK_ENDPOINT", ""),
        ];
        let database = config("DYNAMODB", &variables);
        assert_eq!(database.region(), Some(&Region::new("eu-central-1")));
        assert_eq!(database.endpoint_url(), Some("http://127.0.0.1:2"));
        assert_eq!((database.use_fips(), database.use_dual_stack()), (Some(true), None));
        assert_eq!(config("SECRETS_MANAGER", &variables).endpoint_url(), Some("http://127.0.0.1:1"));
        variables[2].1 = "";
        assert_eq!(config("DYNAMODB", &variables).endpoint_url(), Some("http://127.0.0.1:1"));
    }
}
