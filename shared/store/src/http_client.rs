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
    let roots = if env::var_os("SSL_CERT_FILE").is_some() {
        TrustStore::default()
    } else {
        TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)
    };
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    match TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context),
        // With the system's roots, then.
        Err(_) => builder,
    }
    .build_https()
}
