//! How AWS's services are reached.

use std::env;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};

/// The five roots of Amazon Trust Services, which every certificate of an AWS service leads to; it recommends all of
/// them for a trust store of one's own (<https://www.amazontrust.com/repository/>). The first ends in 2037.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// A client for the SDK that trusts Amazon's own roots, and nobody else's.
///
/// Reading the hundred and more that a system has takes most of a client's start. Where AWS is behind something with a
/// certificate of another's, `SSL_CERT_FILE` names the file of roots to trust instead.
pub fn http_client() -> SharedHttpClient {
    trusting(if env::var_os("SSL_CERT_FILE").is_some() { TrustStore::default() } else { amazon() })
}

fn amazon() -> TrustStore {
    TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
}

fn trusting(roots: TrustStore) -> SharedHttpClient {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context),
        // With the system's roots, then.
        Err(_) => builder,
    }
    .build_https()
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
        let refused = what_goes_wrong(&url, trusting(amazon())).await;
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        let believed = what_goes_wrong(&url, trusting(amazon().with_pem_certificate(certificate))).await;
        assert!(!believed.contains("UnknownIssuer"), "{believed}");
    }
}
