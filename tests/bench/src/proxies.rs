//! Ways to the database: with TLS, ended by a proxy that shows a chain of certificates as AWS does, and with a delay.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use pem::Pem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional},
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

/// Where a system keeps the root certificates that it trusts.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// What our functions trust.
const AMAZON_ROOTS: &str = include_str!("../../../shared/store/src/amazon-roots.pem");

/// Files of certificates to trust.
#[derive(Clone)]
pub(crate) struct Roots {
    /// The benchmark's own alone.
    pub(crate) own: PathBuf,
    /// Amazon's and the benchmark's own.
    pub(crate) amazon: PathBuf,
    /// The system's, some 140, and the benchmark's own.
    pub(crate) system: PathBuf,
}

fn key() -> Result<KeyPair> {
    // What AWS's services have.
    Ok(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?)
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(params)
}

/// Serves TLS on a free port of this machine, and passes what it carries on to `upstream`. Leaves the roots in `folder`.
pub(crate) async fn tls(upstream: String, folder: &Path) -> Result<(String, Roots)> {
    let root = CertifiedIssuer::self_signed(authority("Benchmark Root")?, key()?)?;
    let between = CertifiedIssuer::signed_by(authority("Benchmark Intermediate")?, key()?, &root)?;
    let leaf_key = key()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&leaf_key, &between)?;

    let [own, amazon, system] = ["own", "amazon", "system"].map(|name| folder.join(name).with_extension("pem"));
    let all = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
    let all = all.context("this system has no root certificates; its package is called ca-certificates")?;
    let root = pem::encode(&Pem::new("CERTIFICATE", root.der().to_vec()));
    fs::write(&own, &root)?;
    fs::write(&amazon, format!("{AMAZON_ROOTS}\n{root}"))?;
    fs::write(&system, format!("{all}\n{root}"))?;
    let roots = Roots { own, amazon, system };

    let chain = vec![leaf.der().clone(), between.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            // A client that leaves is no matter: it has been measured, or its own error tells.
            tokio::spawn(async move { terminate(stream, &acceptor, &upstream).await.ok() });
        }
    });
    Ok((format!("https://localhost:{port}"), roots))
}

async fn terminate(stream: TcpStream, acceptor: &TlsAcceptor, upstream: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut near = acceptor.accept(stream).await?;
    let mut far = TcpStream::connect(upstream).await.context("the database is there")?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// Passes on to `upstream` what comes to a free port of this machine, and what comes back after `delay`.
pub(crate) async fn delay(upstream: String, delay: Duration) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = upstream.clone();
            tokio::spawn(async move { pass_on_late(stream, &upstream, delay).await.ok() });
        }
    });
    Ok(address)
}

async fn pass_on_late(near: TcpStream, upstream: &str, delay: Duration) -> Result<()> {
    let far = TcpStream::connect(upstream).await.context("the database is there")?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (near.into_split(), far.into_split());
    let late = async {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = far_read.read(&mut piece).await?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
            sleep(delay).await;
            near_write.write_all(read).await?;
        }
    };
    tokio::try_join!(copy(&mut near_read, &mut far_write), late)?;
    Ok(())
}
