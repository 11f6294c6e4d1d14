//! How AWS's services are reached.

use std::{env, time::Duration};

use aws_sdk_dynamodb::{
    config::{RuntimeComponents, SharedHttpClient},
    error::DisplayErrorContext,
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use reqwest::{Body, Certificate, Client, Request, redirect};

/// The five roots of Amazon Trust Services, which every certificate of an AWS service leads to; it recommends all of
/// them for a trust store of one's own (<https://www.amazontrust.com/repository/>). The first ends in 2037.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// How long a connection may take to come about. Short, because an environment that Lambda froze thaws with dead
/// connections.
const CONNECT: Duration = Duration::from_secs(1);

/// A client for the SDK that trusts Amazon's own roots, and nobody else's.
///
/// Reading the hundred and more that a system has takes most of a client's start. Where AWS is behind something with a
/// certificate of another's, `SSL_CERT_FILE` names the file of roots to trust instead.
///
/// It is reqwest, which fetches Clerk's keys as well. The SDK's own would be a second one in each function, with an
/// HTTP/2 that cannot be left out and that DynamoDB does not speak.
pub fn http_client() -> SharedHttpClient {
    trusting(if env::var_os("SSL_CERT_FILE").is_some() { None } else { Some(AMAZON_ROOTS) })
}

/// A client that trusts `roots` alone, in PEM; without any, those of the system.
fn trusting(roots: Option<&[u8]>) -> SharedHttpClient {
    let build = || {
        let builder = Client::builder().connect_timeout(CONNECT).redirect(redirect::Policy::none());
        match roots {
            Some(roots) => builder.tls_certs_only(Certificate::from_pem_bundle(roots)?),
            None => builder,
        }
        .build()
    };
    SharedHttpClient::new(Reqwest(build().map_err(|error| format!("{}", DisplayErrorContext(error)))))
}

/// The client, or why there is none, which every request then tells.
#[derive(Clone, Debug)]
struct Reqwest(Result<Client, String>);

impl HttpClient for Reqwest {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Reqwest {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let client = client.map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request = Request::try_from(request.map(Body::wrap)).map_err(error)?;
            let response: http::Response<Body> = client.execute(request).await.map_err(error)?.into();
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tells the SDK what it may try again.
fn error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() {
        ConnectorError::timeout(error.into())
    } else if error.is_builder() {
        ConnectorError::user(error.into())
    } else {
        ConnectorError::io(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_dynamodb::{
        Client, Config,
        config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    };
    use pem::Pem;
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, rustls};

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
        let refused = what_goes_wrong(&url, trusting(Some(AMAZON_ROOTS))).await;
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        let believed = what_goes_wrong(&url, trusting(Some(certificate.as_bytes()))).await;
        assert!(!believed.contains("UnknownIssuer"), "{believed}");
    }
}
