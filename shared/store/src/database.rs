use std::{sync::OnceLock, time::Duration};

use aws_runtime::user_agent::{ApiMetadata, AwsUserAgent, UserAgentInterceptor};
use aws_sdk_dynamodb::{
    Client,
    config::{
        self, ConfigBag, Intercept, RuntimeComponents, SharedInterceptor, StalledStreamProtectionConfig,
        endpoint::{DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint},
        interceptors::{BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
        retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::BoxError,
    meta::PKG_VERSION,
};
use aws_smithy_runtime_api::client::interceptors::{disable_interceptor, dyn_dispatch_hint};
use aws_types::os_shim_internal::Env;

use crate::capacity::CapacityInterceptor;

/// The connection to DynamoDB that the table handles share. Cloning it is cheap.
#[derive(Clone)]
pub struct Database(pub(crate) Client);

impl Database {
    /// Configured through `var`, which looks up an environment variable: see [`aws::sdk_config`]. Makes no request yet.
    ///
    /// A call ends within 6 s, three attempts included, so that the client gets a response before the function's timeout
    /// of 25 s (`template.yaml`), even if the function makes several calls in sequence.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_millis(2500))
            .operation_timeout(Duration::from_secs(6))
            .build();
        let (config, refresh) = aws::sdk_config("DYNAMODB", var);
        let config = config::Builder::from(&config)
            .retry_classifier(refresh)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            // The attempt's timeout includes its stream.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        Self::from(config)
    }
}

/// A connection with another configuration.
impl From<config::Builder> for Database {
    fn from(mut config: config::Builder) -> Self {
        config.push_interceptor(SharedInterceptor::permanent(CapacityInterceptor));
        config.push_interceptor(SharedInterceptor::permanent(UserAgent::new()));
        Self(Client::from_conf(config.endpoint_resolver(OneEndpoint::default()).build()))
    }
}

/// Resolves the endpoint once. The SDK's resolver remembers only its last result, by parameters that include the names of
/// a request's tables. Nothing else in the parameters changes, and no table is named by an ARN.
#[derive(Debug, Default)]
struct OneEndpoint {
    resolver: DefaultResolver,
    endpoint: OnceLock<Endpoint>,
}

impl ResolveEndpoint for OneEndpoint {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        if let Some(endpoint) = self.endpoint.get() {
            return EndpointFuture::ready(Ok(endpoint.clone()));
        }
        EndpointFuture::new(async {
            let endpoint = self.resolver.resolve_endpoint(params).await?;
            Ok(self.endpoint.get_or_init(|| endpoint).clone())
        })
    }
}

/// Sends the SDK's user agent. The SDK's own interceptor builds it twice for each request, once as a header that is signed.
#[derive(Debug)]
struct UserAgent(String);

impl UserAgent {
    fn new() -> Self {
        let api = ApiMetadata::new("dynamodb", PKG_VERSION);
        Self(AwsUserAgent::new_from_environment(Env::real(), api).ua_header())
    }
}

#[dyn_dispatch_hint]
impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(disable_interceptor::<UserAgentInterceptor>("it is replaced"));
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().try_insert("user-agent", self.0.clone())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_runtime_api::client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::HttpRequest,
        result::ConnectorError,
    };

    use super::*;

    /// Keeps requests instead of sending them.
    #[derive(Clone, Debug, Default)]
    struct Requests(Arc<Mutex<Vec<HttpRequest>>>);

    impl HttpClient for Requests {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    impl HttpConnector for Requests {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.lock().unwrap().push(request);
            HttpConnectorFuture::ready(Err(ConnectorError::user("not sent".into())))
        }
    }

    /// What a client sends for reads of two tables.
    async fn requests(config: config::Builder) -> Vec<HttpRequest> {
        let requests = Requests::default();
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::for_tests())
            .http_client(requests.clone());
        let Database(client) = Database::from(config);
        for table in ["one", "other"] {
            client.describe_table().table_name(table).send().await.unwrap_err();
        }
        std::mem::take(&mut *requests.0.lock().unwrap())
    }

    #[tokio::test]
    async fn each_configuration_has_its_own_endpoint() {
        let configurations = [
            (config::Builder::new(), "https://dynamodb.eu-central-1.amazonaws.com/"),
            (config::Builder::new().use_fips(true), "https://dynamodb-fips.eu-central-1.amazonaws.com/"),
            (config::Builder::new().use_dual_stack(true), "https://dynamodb.eu-central-1.api.aws/"),
            (config::Builder::new().endpoint_url("http://127.0.0.1:1"), "http://127.0.0.1:1/"),
        ];
        for (config, url) in configurations {
            let urls: Vec<_> = requests(config).await.iter().map(|request| request.uri().to_owned()).collect();
            assert_eq!(urls, [url, url]);
        }
    }

    #[tokio::test]
    async fn requests_name_the_sdk_once() {
        for request in requests(config::Builder::new()).await {
            let user_agent = request.headers().get("user-agent").unwrap();
            assert!(user_agent.starts_with("aws-sdk-rust/") && user_agent.contains(" api/dynamodb/1."), "{user_agent}");
            assert_eq!(request.headers().get("x-amz-user-agent"), None);
        }
    }
}
