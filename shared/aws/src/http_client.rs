//! The HTTP client of the SDK's clients.

use std::{fs, path::Path, time::Duration};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::body::SdkBody;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The five roots of Amazon Trust Services, which issue the certificates of all AWS services
/// (<https://www.amazontrust.com/repository/>). The first expires in 2037.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// The limit for a TCP connection. TLS counts as part of the request. Short, because connections are dead after Lambda
/// froze the environment.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// An HTTP client for the SDK that trusts only Amazon's roots, or only those in the file `ca_bundle` (`AWS_CA_BUNDLE`, for
/// networks that terminate TLS). Parsing a system's hundred roots and more would take most of a client's start.
///
/// It uses hyper, which every function has already, directly. The SDK's own client includes HTTP/2, which cannot be turned
/// off and which DynamoDB does not support. reqwest, which fetches Clerk's keys, parses each request's URL twice more.
pub fn http_client(ca_bundle: Option<&Path>) -> SharedHttpClient {
    let read = |file: &Path| {
        fs::read(file).map_err(|error| format!("the roots of AWS_CA_BUNDLE, {}: {error}", file.display()).into())
    };
    trusting(ca_bundle.map_or_else(|| Ok(AMAZON_ROOTS.to_vec()), read))
}

/// A client that trusts only `roots`, in PEM.
fn trusting(roots: Result<Vec<u8>, BoxError>) -> SharedHttpClient {
    let client = |connector| Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let client = roots.and_then(|roots| connector(&roots)).map(client);
    SharedHttpClient::new(Hyper(client.map_err(|error| error.to_string())))
}

fn connector(roots: &[u8]) -> Result<HttpsConnector<connect::HttpConnector>, BoxError> {
    // Without the error's own text, which quotes the file: it may be a wrong file with secrets.
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots).collect();
    let roots = roots.map_err(|_| "the roots are not certificates in PEM")?;
    let mut trusted = RootCertStore::empty();
    // A system's roots can include one that is too old to be parsed.
    if let (0, _) = trusted.add_parsable_certificates(roots) {
        return Err("the roots contain no usable certificate".into());
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let mut tcp = connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(HttpsConnector::from((tcp, config)))
}

type Pooled = Client<HttpsConnector<connect::HttpConnector>, SdkBody>;

/// The client, or the reason why it could not be built, which is then the error of every request.
#[derive(Clone, Debug)]
struct Hyper(Result<Pooled, String>);

impl HttpClient for Hyper {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Hyper {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = self.0.as_ref().map_err(|error| ConnectorError::user(error.clone().into())).and_then(|client| {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            Ok(client.request(request))
        });
        HttpConnectorFuture::new(async move {
            // The SDK may retry, whatever the cause.
            let response = sent?.await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_dynamodb::{
        Client, Config,
        config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
        error::DisplayErrorContext,
    };
    use pem::Pem;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server with a self-signed certificate. Returns its URL and the certificate.
    async fn self_signed_server() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("they belong together")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        tokio::spawn(async move {
            // The test examines the client's result.
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        (url, pem::encode(&Pem::new("CERTIFICATE", made.cert.der().to_vec())))
    }

    async fn request_error(url: &str, client: SharedHttpClient) -> String {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url)
            .http_client(client);
        let listed = Client::from_conf(config.build()).list_tables().send().await;
        DisplayErrorContext(listed.expect_err("the server is not DynamoDB")).to_string()
    }

    #[tokio::test]
    async fn only_amazons_roots_are_trusted() {
        let (url, certificate) = self_signed_server().await;
        let rejected = request_error(&url, trusting(Ok(AMAZON_ROOTS.to_vec()))).await;
        assert!(rejected.contains("UnknownIssuer"), "{rejected}");
        let trusted = request_error(&url, trusting(Ok(certificate.into_bytes()))).await;
        assert!(!trusted.contains("UnknownIssuer"), "{trusted}");
    }
}
