//! The functions in Docker: `sam local`, with the running stack's database and Clerk.

use std::{collections::BTreeMap, fs, io::Write, net::Ipv4Addr, path::Path, process::Stdio};

use anyhow::{Context, Result, bail};
use axum::{Router, extract::Request, http::header};
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    process::Command,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use yaml_serde::{Mapping, Value};

use crate::{
    functions::workspace,
    guard::Guard,
    proxy::{Proxy, hidden_listener},
    stack::Ports,
};

/// The output folder of `sam build` in `make invoke`.
const BUILT: &str = ".aws-sam/here";
/// The host name by which Docker Desktop's containers reach the machine's loopback interface.
const DESKTOP_HOST: &str = "host.docker.internal";

/// Runs a command of `sam local`. `environment` returns the functions' environment for the URL of the database and of the
/// WebSocket API.
pub(crate) async fn sam_local(
    arguments: &[String],
    event: Option<String>,
    ports: Ports,
    environment: impl FnOnce(String) -> BTreeMap<String, String>,
) -> Result<()> {
    let sam = workspace().join(".tools/sam/bin/sam");
    let folder = workspace().join(BUILT);
    if !sam.exists() || !folder.join("template.yaml").exists() {
        bail!("the functions are not built for Docker. Run `make invoke` or `make start-api`, which build them");
    }
    let containers = listen(&gateways().await?).await?;
    let services = serve(containers.listener, &containers.host, ports.dynamodb, ports.live);
    // Ctrl-C ends the SAM CLI. This program waits for that and then deletes the template.
    let _interrupt = signal(SignalKind::interrupt())?;
    let template = write_template(&folder, &environment(format!("http://{}", containers.host)))?;
    let mut sam = Command::new(sam);
    sam.arg("local").args(arguments).arg("--template-file").arg(template.path()).env("SAM_CLI_TELEMETRY", "0");
    // The architecture that `make build-here` builds for.
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    sam.args(["--parameter-overrides", &format!("Architecture={architecture}")]);
    sam.args(containers.options);
    if event.is_some() {
        sam.args(["--event", "-"]).stdin(Stdio::piped());
    }
    let mut sam = sam.current_dir(workspace()).spawn().context("the SAM CLI cannot be started")?;
    if let (Some(event), Some(mut input)) = (event, sam.stdin.take()) {
        input.write_all(event.as_bytes()).await?;
    }
    let status = sam.wait().await?;
    services.abort();
    if !status.success() {
        bail!("`sam local` failed ({status}). See its output above");
    }
    Ok(())
}

/// The listener of an API that `sam local` is going to serve.
pub(crate) struct Api {
    pub(crate) url: String,
    /// The options of `sam local` for it.
    pub(crate) options: [String; 4],
}

/// Serves the API of `sam local start-api` only to programs and to pages of `origins`.
pub(crate) async fn serve_api(port: u16, origins: Vec<String>) -> Result<Api> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("port {port} is not available. Set --port to another"))?;
    let port = listener.local_addr()?.port();
    let target = hidden_listener().await?.local_addr()?;
    let router = Guard::api(port, origins).layer(Proxy::to(target).router());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = ["--host", &target.ip().to_string(), "--port", &target.port().to_string()].map(str::to_owned);
    Ok(Api { url: format!("http://127.0.0.1:{port}"), options })
}

/// A listener that containers can reach.
struct Containers {
    listener: TcpListener,
    /// Its host and port for containers.
    host: String,
    /// The options of `sam local` that it requires.
    options: &'static [&'static str],
}

/// A network's range of IP addresses, as Docker reports it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    subnet: Option<String>,
    gateway: Option<String>,
}

impl Range {
    /// This machine's IP address on the network. Docker 20 reports none for its bridge, which has the first of the range.
    fn gateway(&self) -> Option<Ipv4Addr> {
        let network = || self.subnet.as_ref()?.split_once('/')?.0.parse::<Ipv4Addr>().ok();
        let first = || Some(Ipv4Addr::from_bits(network()?.to_bits().saturating_add(1)));
        self.gateway.as_ref().and_then(|gateway| gateway.parse().ok()).or_else(first)
    }
}

/// The IP addresses of this machine on Docker's bridge.
async fn gateways() -> Result<Vec<Ipv4Addr>> {
    let arguments = ["network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"];
    let inspected = Command::new("docker").args(arguments).output().await;
    let inspected = inspected.context("this command runs functions in Docker, which is not installed")?;
    if !inspected.status.success() {
        let errors = String::from_utf8_lossy(&inspected.stderr);
        bail!("this command runs functions in Docker, which does not respond: {}", errors.trim());
    }
    let ranges: Vec<Range> = serde_json::from_slice(&inspected.stdout).context("Docker's output cannot be read")?;
    Ok(ranges.iter().filter_map(Range::gateway).collect())
}

/// Listens where only containers on this machine can connect. (The option `--docker-network host` would make that
/// unnecessary, but the SAM CLI ignores it.)
async fn listen(gateways: &[Ipv4Addr]) -> Result<Containers> {
    // On Linux, the bridge's gateway is an IP address of this machine.
    for gateway in gateways {
        if let Ok(listener) = TcpListener::bind((*gateway, 0)).await {
            let host = listener.local_addr()?.to_string();
            return Ok(Containers { listener, host, options: &[] });
        }
    }
    // Docker Desktop's bridge is in a virtual machine, which has a host name for this machine's loopback interface.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let host = format!("{DESKTOP_HOST}:{}", listener.local_addr()?.port());
    Ok(Containers { listener, host, options: &["--add-host", "host.docker.internal:host-gateway"] })
}

/// Forwards requests of containers, and not of web pages, to the database or to the connections of the WebSocket API. Both
/// require the database's access key.
fn serve(listener: TcpListener, host: &str, dynamodb_port: u16, live_port: u16) -> JoinHandle<std::io::Result<()>> {
    let [database, connections] = [dynamodb_port, live_port].map(|port| Proxy::to((Ipv4Addr::LOCALHOST, port).into()));
    let to_service = async move |mut request: Request| {
        // The guard of each service expects its own host.
        request.headers_mut().remove(header::HOST);
        let is_of_connection = request.uri().path().contains("/@connections/");
        if is_of_connection { connections.pass(request).await } else { database.pass(request).await }
    };
    let router = Guard::containers(host.to_owned()).layer(Router::new().fallback(to_service));
    tokio::spawn(async move { axum::serve(listener, router).await })
}

/// Writes the built template with `environment` for all functions to a temporary file. `sam local` has an option for that,
/// but it omits variables that the template does not have, such as the database's URL.
fn write_template(folder: &Path, environment: &BTreeMap<String, String>) -> Result<NamedTempFile> {
    let built = fs::read_to_string(folder.join("template.yaml")).context("the built template cannot be read")?;
    // The environment has secrets. Only its owner can read a temporary file.
    let mut file = tempfile::Builder::new().prefix("local-").suffix(".yaml").tempfile_in(folder)?;
    file.write_all(with_environment(&built, environment)?.as_bytes())?;
    Ok(file)
}

/// Moves the environment to SAM's `Globals`, and removes the functions' own.
fn with_environment(built: &str, environment: &BTreeMap<String, String>) -> Result<String> {
    let mut document: Value = yaml_serde::from_str(built).context("the built template cannot be read")?;
    let resources = document.get_mut("Resources").and_then(Value::as_mapping_mut);
    for (_, resource) in resources.context("the built template has no resources")? {
        let properties = resource.get_mut("Properties").and_then(Value::as_mapping_mut);
        if let Some(properties) = properties.filter(|properties| properties.contains_key("CodeUri")) {
            properties.remove("Environment");
        }
    }
    let globals = document.get_mut("Globals").and_then(|globals| globals.get_mut("Function"));
    let globals =
        globals.and_then(Value::as_mapping_mut).context("the built template has no globals. Build it again")?;
    let variables: Mapping =
        environment.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
    globals.insert("Environment".into(), Mapping::from_iter([("Variables".into(), variables.into())]).into());
    Ok(yaml_serde::to_string(&document)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn containers_reach_the_services_and_web_pages_do_not() {
        let service = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("bound").port();
            let echo = Router::new().fallback(async |request: Request| format!("{:?}", request.headers().get("host")));
            tokio::spawn(async move { axum::serve(listener, echo).await });
            port
        };
        let (database, connections) = (service().await, service().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let host = format!("{DESKTOP_HOST}:1234");
        let _served = serve(listener, &host, database, connections);

        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        for (path, port) in [("/", database), ("/v1/@connections/L0SM9cOFvHcCIhw%3D", connections)] {
            let answer = http.post(format!("{url}{path}")).header("host", &host).send().await.expect("an answer");
            assert_eq!(answer.text().await.expect("text"), format!("Some(\"127.0.0.1:{port}\")"));
        }
        let page = http.post(&url).header("host", &host).header("origin", "http://localhost:3000");
        for rejected in [page, http.post(&url), http.post(&url).header("host", "evil.example")] {
            assert_eq!(rejected.send().await.expect("an answer").status(), 403);
        }
    }

    #[tokio::test]
    async fn a_bridge_without_a_gateway_has_its_first_ip_address() {
        let gateway = |text| serde_json::from_str::<Range>(text).expect("a range").gateway();
        let expected = Some(Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(gateway(r#"{"Subnet":"172.17.0.0/16"}"#), expected);
        assert_eq!(gateway(r#"{"Subnet":"172.17.0.0/16","Gateway":"172.17.0.1"}"#), expected);
        assert_eq!(gateway(r#"{"Subnet":"172.17.0.0/16","Gateway":""}"#), expected);
        assert_eq!(gateway(r#"{"Subnet":"fd00::/64","Gateway":"fd00::1"}"#), None);
        let containers = listen(&[Ipv4Addr::new(203, 0, 113, 1)]).await.expect("the loopback interface is there");
        assert!(containers.host.starts_with(DESKTOP_HOST) && containers.options.contains(&"--add-host"));
    }

    #[test]
    fn templates_with_secrets_are_private_and_do_not_outlive_their_use() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("template.yaml"), include_str!("../../../template.yaml")).expect("written");
        let [one, other] = [1, 2].map(|_| write_template(folder.path(), &BTreeMap::new()).expect("written"));
        assert_ne!(one.path(), other.path(), "two commands at once");
        assert_eq!(fs::metadata(one.path()).expect("it is there").permissions().mode() & 0o777, 0o600);
        drop((one, other));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn functions_in_docker_get_only_the_local_environment() {
        let built = include_str!("../../../template.yaml");
        let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), "http://172.17.0.1:1".to_owned())].into();
        let written = with_environment(built, &environment).expect("the template is right");
        assert!(!written.contains("CLERK_ISSUER"), "{written}");
        let document: Value = yaml_serde::from_str(&written).expect("YAML");
        let variables = &document["Globals"]["Function"]["Environment"]["Variables"];
        let variables: BTreeMap<String, String> = yaml_serde::from_value(variables.clone()).expect("variables");
        assert_eq!(variables, environment);
        let webhook = document["Resources"]["ClerkWebhookFunction"]["Properties"].as_mapping().expect("properties");
        assert!(!webhook.contains_key("Environment"));
        assert_eq!(webhook["CodeUri"], "functions/clerk-webhook", "the rest is as it was");
    }
}
