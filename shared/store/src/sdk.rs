//! How a function finds AWS's services.

use std::env;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, meta::credentials::CredentialsProviderChain,
    provider_config::ProviderConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;

use crate::http_client;

/// The configuration of an SDK's client, from the variables that Lambda sets, for `service` (such as `DYNAMODB`).
///
/// - The region is `AWS_REGION`.
/// - Credentials are in the environment or, where a function may outlive those (as one that was snapshotted), behind the
///   URL that `AWS_CONTAINER_CREDENTIALS_FULL_URI` names. A function has no others: a profile's files, roles to assume
///   and the rest of [`aws_config::defaults`] would be searched in vain, and are a twelfth of a program.
/// - `AWS_ENDPOINT_URL_<service>` or `AWS_ENDPOINT_URL`, `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` say
///   which endpoint it is, as for every SDK
///   (<https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>).
pub fn sdk_config(service: &str) -> SdkConfig {
    let http_client = http_client();
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let flag = |name: &str| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
    let provider = ProviderConfig::without_region().with_http_client(http_client.clone());
    let credentials = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Container", EcsCredentialsProvider::builder().configure(&provider).build());
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(variable("AWS_REGION").map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client);
    config.set_endpoint_url(variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")));
    config.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    config.build()
}
