//! How AWS's services are reached.

use std::{env, ffi::OsString, fs, time::Duration};

use aws_sdk_dynamodb::{
    config::{RuntimeComponents, SharedHttpClient},
    error::BoxError,
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
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

/// The five roots of Amazon Trust Services, which every certificate of an AWS service leads to; it recommends all of
/// them for a trust store of one's own (<https://www.amazontrust.com/repository/>). The first ends in 2037.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// How long a connection may take to come about; its TLS counts as part of a request. Short, because an environment that
/// Lambda froze thaws with dead connections.
const CONNECT: Duration = Duration::from_secs(1);

/// A client for the SDK that trusts Amazon's own roots, and nobody else's.
///
/// Reading the hundred and more that a system has takes most of a client's start. Where AWS is behind something with a
/// certificate of another's, `AWS_CA_BUNDLE` names the file of roots to trust instead, as for every SDK of AWS; empty, it
/// names none. It concerns AWS only: Clerk's keys are fetched with the system's roots.
///
/// It is hyper's, which is in every function already, with nothing around it. The SDK's own brings an HTTP/2 that
/// cannot be left out and that DynamoDB does not speak; reqwest, which fetches Clerk's keys, reads each request's URL
/// twice more.
pub fn http_client() -> SharedHttpClient {
    let named = |file: OsString| {
        fs::read(&file).map_err(|error| format!("the roots of AWS_CA_BUNDLE, {}: {error}", file.display()).into())
    };
    let file = env::var_os("AWS_CA_BUNDLE").filter(|file| !file.is_empty());
    trusting(file.map_or_else(|| Ok(AMAZON_ROOTS.to_vec()), named))
}

/// A client that trusts `roots` alone, in PEM.
fn trusting(roots: Result<Vec<u8>, BoxError>) -> SharedHttpClient {
    let client = |connector| Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let client = roots.and_then(|roots| connector(&roots)).map(client);
    SharedHttpClient::new(Hyper(client.map_err(|error| error.to_string())))
}

fn connector(roots: &[u8]) -> Result<HttpsConnector<connect::HttpConnector>, BoxError> {
    // The error's own text quotes the file, which may be a wrong one.
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(roots).collect();
    let roots = roots.map_err(|_| "the roots are not certificates in PEM")?;
    let mut trusted = RootCertStore::empty();
    // A system's hundred and more may hold one that is too old to be read.
    if let (0, _) = trusted.add_parsable_certificates(roots) {
        return Err("there is no root certificate to trust".into());
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let mut tcp = connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    Ok(HttpsConnector::from((tcp, config)))
}

type Pooled = Client<HttpsConnector<connect::HttpConnector>, SdkBody>;

/// The client, or why there is none, which every request then tells.
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
            // Whatever keeps an answer away, the SDK may try again.
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

    /// Somebody who poses as DynamoDB, with a certificate of their own. Gives their address and the certificate.
    async fn impostor() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("they belong together")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        tokio::spawn(async move {
            // Whether a client stays is what the test looks at.
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        (url, pem::encode(&Pem::new("CERTIFICATE", made.cert.der().to_vec())))
    }

    async fn what_goes_wrong(url: &str, client: SharedHttpClient) -> String {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url)
            .http_client(client);
        let listed = Client::from_conf(config.build()).list_tables().send().await;
        DisplayErrorContext(listed.expect_err("nobody is behind it")).to_string()
    }

    #[tokio::test]
    async fn only_amazons_roots_are_trusted() {
        let (url, certificate) = impostor().await;
        let refused = what_goes_wrong(&url, trusting(Ok(AMAZON_ROOTS.to_vec()))).await;
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        let believed = what_goes_wrong(&url, trusting(Ok(certificate.into_bytes()))).await;
        assert!(!believed.contains("UnknownIssuer"), "{believed}");
    }
}
