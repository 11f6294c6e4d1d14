//! How a function finds AWS's services.

use std::{
    borrow::Cow,
    env,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, provider_config::ProviderConfig,
};
use aws_sdk_dynamodb::config::{
    ConfigBag, IdentityCache, ResolveCachedIdentity, RuntimeComponents, SharedCredentialsProvider, SharedIdentityCache,
    retry::{ClassifyRetry, RetryAction},
};
use aws_smithy_runtime_api::client::{
    identity::{IdentityFuture, SharedIdentityResolver},
    interceptors::context::InterceptorContext,
};
use serde::Deserialize;

use crate::http_client;

/// The codes by which a service rejects a request's credentials or signature, whichever protocol it has. Another attempt
/// can succeed: with the credentials that replaced these, or signed at the present time.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html>
pub(crate) const REJECTED_CREDENTIALS: [&str; 17] = [
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

/// The configuration of an SDK's client, from the variables that Lambda sets, for `service` (such as `DYNAMODB`).
///
/// - The region is `AWS_REGION`.
/// - Credentials are in the environment or, where a function may outlive those (as one that was snapshotted), behind the
///   URL that `AWS_CONTAINER_CREDENTIALS_FULL_URI` names. A function has no others: a profile's files, roles to assume
///   and the rest of [`aws_config::defaults`] would be searched in vain, and are a twelfth of a program.
/// - `AWS_ENDPOINT_URL_<service>` or `AWS_ENDPOINT_URL`, `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` say
///   which endpoint it is, as for every SDK
///   (<https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>).
///
/// The second value has to become a retry classifier of the client, so that credentials which the service rejects are
/// fetched again.
pub fn sdk_config(service: &str) -> (SdkConfig, CredentialRefresh) {
    let http_client = http_client();
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let flag = |name: &str| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
    let provider = ProviderConfig::without_region().with_http_client(http_client.clone());
    // Not a chain of both, which logs what a provider says of a response that it cannot use.
    let credentials = if variable("AWS_ACCESS_KEY_ID").is_some() {
        SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
    } else {
        SharedCredentialsProvider::new(EcsCredentialsProvider::builder().configure(&provider).build())
    };
    let refresh = CredentialRefresh(Arc::new(Mutex::new(IdentityCache::lazy().build())));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(variable("AWS_REGION").map(Region::new))
        .credentials_provider(credentials)
        .identity_cache(refresh.clone())
        .http_client(http_client);
    config.set_endpoint_url(variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")));
    config.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    (config.build(), refresh)
}

/// A cache of credentials that is emptied when a service rejects them, and has the request sent again. They may have
/// been replaced while Lambda had the environment frozen.
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
        /// Errors of both services' protocols, JSON 1.0 and 1.1.
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
        // A namespace may come before it.
        let code = kind.rsplit('#').next().unwrap_or_default();
        if !REJECTED_CREDENTIALS.contains(&code) {
            return RetryAction::NoActionIndicated;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = IdentityCache::lazy().build();
        RetryAction::transient_error()
    }
}
