//! Connections to the database: directly, over TLS, with a delay, and with a count of consumed capacity.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use pem::Pem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use reqwest::Client;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// The roots that Cubby trusts on AWS.
const AMAZON_ROOTS: &str = include_str!("../../../shared/aws/src/amazon-roots.pem");
/// The delay of a distant database's responses.
pub(crate) const DELAY: Duration = Duration::from_millis(3);

/// How a function reaches the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Network {
    Plain,
    Tls,
    /// Plain; each response arrives [`DELAY`] later.
    Distant,
    /// Plain, with a count of the capacity that requests consume.
    Metered,
}

/// The requests to DynamoDB and the capacity that they consume.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Consumption {
    /// The operation of each request, sorted.
    pub(crate) operations: Vec<String>,
    /// Capacity units.
    pub(crate) read: f64,
    pub(crate) write: f64,
}

pub(crate) type Meter = Arc<Mutex<Consumption>>;

/// Files of certificates to trust.
pub(crate) struct Roots {
    /// The benchmark's root.
    pub(crate) own: PathBuf,
    /// Amazon's roots and the benchmark's.
    pub(crate) with_amazon: PathBuf,
}

fn key() -> Result<KeyPair> {
    // AWS's services have RSA keys of this size.
    Ok(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?)
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

/// A TLS server with a chain of three certificates, as AWS's are. Writes the files of roots to `folder`.
fn acceptor(folder: &Path) -> Result<(TlsAcceptor, Roots)> {
    let root = CertifiedIssuer::self_signed(authority("Benchmark Root")?, key()?)?;
    let intermediate = CertifiedIssuer::signed_by(authority("Benchmark Intermediate")?, key()?, &root)?;
    let leaf_key = key()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&leaf_key, &intermediate)?;

    let root = pem::encode(&Pem::new("CERTIFICATE", root.der().to_vec()));
    let roots = Roots { own: folder.join("own.pem"), with_amazon: folder.join("with-amazon.pem") };
    fs::write(&roots.own, &root)?;
    fs::write(&roots.with_amazon, format!("{AMAZON_ROOTS}\n{root}"))?;

    let chain = vec![leaf.der().clone(), intermediate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), roots))
}

/// A proxy to `upstream` that ends TLS, with the roots that it writes to `folder`.
pub(crate) async fn tls(upstream: String, folder: &Path) -> Result<(String, Roots)> {
    let (acceptor, roots) = acceptor(folder)?;
    let port = proxy(upstream, Some(acceptor), Duration::ZERO).await?;
    Ok((format!("https://localhost:{port}"), roots))
}

/// A proxy to `upstream` that may end TLS and delays responses. Returns its port.
pub(crate) async fn proxy(upstream: String, acceptor: Option<TlsAcceptor>, delay: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (upstream, acceptor) = (upstream.clone(), acceptor.clone());
            // Errors are ignored: a client whose connection breaks reports it.
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                match acceptor {
                    Some(acceptor) => forward(acceptor.accept(client).await?, &upstream, delay).await,
                    None => forward(client, &upstream, delay).await,
                }
            });
        }
    });
    Ok(port)
}

async fn forward(client: impl AsyncRead + AsyncWrite, upstream: &str, delay: Duration) -> Result<()> {
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (tokio::io::split(client), server.into_split());
    let responses = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_server.read(&mut buffer).await?;
            let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
            if !delay.is_zero() {
                sleep(delay).await;
            }
            to_client.write_all(read).await?;
            to_client.flush().await?;
        }
    };
    tokio::select! {
        // The client has closed its connection, or its connection is broken.
        _ = copy(&mut from_client, &mut to_server) => Ok(()),
        ended = responses => ended,
    }
}

/// A proxy to `upstream` that sums the capacity that requests consume.
pub(crate) async fn metered(upstream: &str) -> Result<(String, Meter)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let meter = Meter::default();
    let state = (Client::builder().no_proxy().build()?, format!("http://{upstream}"), Arc::clone(&meter));
    let router = Router::new().fallback(measured).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, meter))
}

async fn measured(
    State((http, upstream, meter)): State<(Client, String, Meter)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let unavailable = |error: anyhow::Error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response();
    let send = async {
        let target = headers.get("x-amz-target").context("no operation")?.to_str()?;
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut request: Value = serde_json::from_slice(&body)?;
        request["ReturnConsumedCapacity"] = "TOTAL".into();
        let mut forwarded = http.post(upstream).body(request.to_string());
        for name in ["x-amz-target", "x-amz-date", "authorization", "content-type"] {
            forwarded = forwarded.header(name, headers.get(name).with_context(|| format!("no {name}"))?);
        }
        let response = forwarded.send().await?;
        let (status, body) = (response.status(), response.bytes().await?);
        let response: Value = serde_json::from_slice(&body)?;
        // One object, or an array with one for each table.
        let consumed = &response["ConsumedCapacity"];
        let tables = consumed.as_array().cloned().unwrap_or_else(|| vec![consumed.clone()]);
        let units: f64 = tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum();
        let mut sum = meter.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = ["BatchGetItem", "GetItem", "Query"].contains(&operation.as_str());
        *(if reads { &mut sum.read } else { &mut sum.write }) += units;
        sum.operations.push(operation);
        sum.operations.sort();
        Ok((status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response())
    };
    send.await.map_err(unavailable)
}
