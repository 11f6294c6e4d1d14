//! The functions in Docker: `sam local`, with the running stack's database and Clerk.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
};
use yaml_serde::{Mapping, Value};

use crate::{functions::workspace, template::Template};

/// The folder that `make invoke` has `sam build` fill.
const BUILT: &str = ".aws-sam/here";
/// What `sam local` reads: the built template with the stack's settings.
const TEMPLATE: &str = "local.yaml";
/// By this name Docker Desktop leads containers to what listens on the machine's own loopback.
const DESKTOP_HOST: &str = "host.docker.internal";

/// Runs a command of `sam local`. `environment` makes the functions' environment, given the address of the database.
pub(crate) async fn sam_local(
    arguments: &[String],
    event: Option<String>,
    dynamodb_port: u16,
    environment: impl FnOnce(String) -> BTreeMap<String, String>,
) -> Result<()> {
    let sam = workspace().join(".tools/sam/bin/sam");
    let folder = workspace().join(BUILT);
    if !sam.exists() || !folder.join("template.yaml").exists() {
        bail!("the functions are not built for Docker; `make invoke` and `make start-api` build them");
    }
    let (address, _relay) = relay(dynamodb_port).await?;
    let template = write_template(&folder, &environment(format!("http://{address}")))?;
    let mut sam = Command::new(sam);
    sam.arg("local").args(arguments).arg("--template-file").arg(template).env("SAM_CLI_TELEMETRY", "0");
    if event.is_some() {
        sam.args(["--event", "-"]).stdin(Stdio::piped());
    }
    let mut sam = sam.current_dir(workspace()).spawn().context("the SAM CLI cannot be started")?;
    if let (Some(event), Some(mut input)) = (event, sam.stdin.take()) {
        input.write_all(event.as_bytes()).await?;
    }
    let status = sam.wait().await?;
    if !status.success() {
        bail!("`sam local` failed ({status}); what it printed above says why");
    }
    Ok(())
}

/// Stops to relay when it is dropped.
struct Relay(tokio::task::JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Leads containers to a port of the loopback, which they cannot reach. Gives the address they find it at. (The option
/// `--docker-network host` would do, but the SAM CLI ignores it.)
async fn relay(port: u16) -> Result<(String, Option<Relay>)> {
    let format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
    let inspect = Command::new("docker").args(["network", "inspect", "bridge", "--format", format]).output().await;
    let inspected = inspect.context("Docker is needed to run a function in, and there is none")?;
    if !inspected.status.success() {
        let said = String::from_utf8_lossy(&inspected.stderr);
        bail!("Docker is needed to run a function in, and does not answer: {}", said.trim());
    }
    let gateways = String::from_utf8_lossy(&inspected.stdout).into_owned();
    // Linux has the bridge's gateway for an address of its own. Docker Desktop has it in a virtual machine.
    for gateway in gateways.split_whitespace() {
        if let Ok(listener) = TcpListener::bind((gateway, 0)).await {
            let address = listener.local_addr()?.to_string();
            return Ok((address, Some(Relay(tokio::spawn(forward(listener, port))))));
        }
    }
    Ok((format!("{DESKTOP_HOST}:{port}"), None))
}

async fn forward(listener: TcpListener, port: u16) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await {
                // One of them hung up; the other sees that.
                drop(copy_bidirectional(&mut from, &mut to).await);
            }
        });
    }
}

/// Writes the built template with `environment` in each function, beside the tables' names. `sam local` has an option for
/// that, but it leaves out what the template does not name, as the address of the database.
fn write_template(folder: &Path, environment: &BTreeMap<String, String>) -> Result<PathBuf> {
    let built = fs::read_to_string(folder.join("template.yaml")).context("the built template cannot be read")?;
    let path = folder.join(TEMPLATE);
    fs::write(&path, with_environment(&built, environment)?).context("the template cannot be written")?;
    Ok(path)
}

fn with_environment(built: &str, environment: &BTreeMap<String, String>) -> Result<String> {
    let mut document: Value = yaml_serde::from_str(built).context("the built template cannot be read")?;
    for function in Template::load()?.functions {
        let path = ["Resources", &function.name, "Properties", "Environment", "Variables"];
        let variables = path
            .iter()
            .try_fold(&mut document, |value, member| value.get_mut(member))
            .with_context(|| format!("the built template has no {}; build it again", function.name))?;
        *variables = environment
            .iter()
            .chain(&function.tables)
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect::<Mapping>()
            .into();
    }
    Ok(yaml_serde::to_string(&document)?)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_relayed_arrives_and_so_does_its_answer() {
        let [database, relay] = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await];
        let (database, relay) = (database.expect("a port"), relay.expect("a port"));
        let ports = [&database, &relay].map(|listener| listener.local_addr().expect("bound").port());
        let _relay = Relay(tokio::spawn(forward(relay, ports[0])));
        tokio::spawn(async move {
            let (mut caller, _) = database.accept().await.expect("a caller");
            let mut heard = [0; 4];
            caller.read_exact(&mut heard).await.expect("four bytes");
            heard.reverse();
            caller.write_all(&heard).await.expect("the caller listens");
        });
        let mut caller = TcpStream::connect(("127.0.0.1", ports[1])).await.expect("the relay listens");
        caller.write_all(b"ping").await.expect("the relay reads");
        let mut heard = String::new();
        caller.read_to_string(&mut heard).await.expect("the answer");
        assert_eq!(heard, "gnip");
    }

    #[test]
    fn functions_in_docker_get_the_stacks_settings_and_nothing_of_the_templates() {
        let built = include_str!("../../../template.yaml");
        let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), "http://172.17.0.1:1".to_owned())].into();
        let written = with_environment(built, &environment).expect("the template is right");
        let document: Value = yaml_serde::from_str(&written).expect("YAML");
        let chats = &document["Resources"]["ChatsFunction"]["Properties"];
        let variables = chats["Environment"]["Variables"].as_mapping().expect("variables");
        let mut variables: Vec<_> =
            variables.iter().filter_map(|(name, value)| Some((name.as_str()?, value.as_str()?))).collect();
        variables.sort_unstable();
        assert_eq!(
            variables,
            [
                ("AWS_ENDPOINT_URL_DYNAMODB", "http://172.17.0.1:1"),
                ("CHATS_TABLE", "ChatsTable"),
                ("SESSIONS_TABLE", "SessionsTable"),
                ("USERS_TABLE", "UsersTable"),
            ]
        );
        assert_eq!(chats["CodeUri"], "functions/chats", "the rest is as it was");
    }
}
