//! An emulated AWS: MiniStack, which runs the functions' binaries without Docker.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HOST},
};
use serde_json::Value;

/// The timeout for the emulator's response.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const REGION: &str = "us-east-1";
/// The account's root user, for requests that no SDK makes. The emulator does not verify signatures.
const CALLER: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request";
/// The output folder of `sam build` in `make test-deploy`.
pub(crate) const BUILT: &str = ".aws-sam/here";

/// The emulator. It stops, and the functions with it, when its standard input is closed, which the system does when the
/// test ends, however it ends.
pub(crate) struct Aws {
    port: u16,
    folder: PathBuf,
    http: Client,
    process: Child,
}

impl Drop for Aws {
    fn drop(&mut self) {
        // It closes the standard input before it waits.
        let _ = self.process.wait();
    }
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate")
}

impl Aws {
    /// Starts it without resources. `name` is that of its folder.
    pub(crate) async fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy").join(name);
        // Files of an earlier run.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        let log = File::create(folder.join("emulator.log")).expect("the target folder can be written to");
        let python = workspace().join(".tools/ministack/bin/python");
        assert!(python.exists(), "{} is missing; `make test-deploy` sets it up", python.display());

        let mut emulator = Command::new(python);
        emulator.arg(workspace().join("tests/deploy/emulator.py")).current_dir(&folder);
        environment(&mut emulator, None);
        // It evaluates the functions' roles.
        emulator.env("AUTH", "true").env("BIND_HOST", "127.0.0.1").env("TMPDIR", &folder);
        let process = emulator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut process = process.expect("Python starts");
        // A connection for each request: the emulator closes idle ones while a command runs, which blocks this thread, and
        // what is sent on one before the closing has been seen is lost.
        let http = Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        let mut line = String::new();
        let printed = BufReader::new(process.stdout.take().expect("standard output is piped")).read_line(&mut line);
        printed.expect("it is UTF-8");
        let mut aws = Self { port: 0, folder, http, process };
        aws.port = line.trim().parse().unwrap_or_else(|_| panic!("the emulator prints no port:\n{}", aws.log()));
        let deadline = Instant::now() + START_TIMEOUT;
        let health = format!("{}/_ministack/health", aws.url());
        while !aws.http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = aws.process.try_wait().expect("it can be asked") {
                panic!("the emulator has stopped ({status}):\n{}", aws.log());
            }
            assert!(Instant::now() < deadline, "the emulator does not answer on port {}:\n{}", aws.port, aws.log());
            thread::sleep(Duration::from_millis(50));
        }
        aws
    }

    /// The log of the emulator and the functions.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("emulator.log")).unwrap_or_default()
    }

    /// A line that a function logged.
    pub(crate) fn logged(&self, wanted: impl FnMut(&Value) -> bool) -> Value {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok());
        lines.rfind(wanted).unwrap_or_else(|| panic!("no such line:\n{log}"))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A copy of the output of `sam build`, which a test can change.
    pub(crate) fn built(&self) -> PathBuf {
        let (from, to) = (workspace().join(BUILT), self.folder.join("build"));
        assert!(from.join("template.yaml").exists(), "{} is missing; `make test-deploy` builds it", from.display());
        let copied = Command::new("cp").arg("-R").arg(from).arg(&to).status().expect("cp runs");
        assert!(copied.success(), "the build cannot be copied");
        to
    }

    /// A command of the SAM CLI in the project's folder, with its samconfig.toml.
    ///
    /// An error is what it prints.
    pub(crate) async fn sam(&self, arguments: &[&str]) -> Result<(), String> {
        let mut sam = Command::new(workspace().join(".tools/sam/bin/sam"));
        environment(&mut sam, Some(self.port));
        sam.args(arguments).current_dir(workspace()).stdin(Stdio::null());
        let output = tokio::process::Command::from(sam).output().await.expect("the SAM CLI runs");
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(printed) }
    }

    /// Does what `make deploy` does after a deployment, and prunes also new files.
    pub(crate) fn after_deployment(&self, stack: &str) -> String {
        let mut after = Command::new(workspace().join(".tools/sam/bin/python"));
        environment(&mut after, Some(self.port));
        after.args(["infra/after-deployment.py", "prod", "--days", "0", "--stack", stack]).current_dir(workspace());
        let output = after.output().expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// An operators' command.
    pub(crate) fn operator(&self, arguments: &[&str]) -> Command {
        let mut operate = Command::new(env!("CARGO"));
        environment(&mut operate, Some(self.port));
        // By binary, as the alias in .cargo/config.toml.
        operate.args(["run", "--quiet", "--bin", "operate", "--"]).args(arguments).current_dir(workspace());
        operate
    }

    /// Runs an operators' command, which must succeed, and returns its output.
    pub(crate) fn operate(&self, arguments: &[&str]) -> String {
        let output = self.operator(arguments).output().expect("cargo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "operate {} failed:\n{errors}", arguments.join(" "));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A file for a test to write.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A POST request to a function URL of the stack. Only the emulator knows its host.
    pub(crate) fn post(&self, function_url: &str) -> reqwest::RequestBuilder {
        let host = reqwest::Url::parse(function_url).expect("a URL").host_str().expect("with a host").to_owned();
        self.http.post(self.url()).header(HOST, host)
    }

    /// Where the emulator serves a WebSocket API with a URL that the stack printed.
    pub(crate) fn websocket(&self, url: &str) -> String {
        let url = reqwest::Url::parse(url).expect("a URL");
        let (api, _) = url.host_str().and_then(|host| host.split_once('.')).expect("the API's id");
        format!("ws://127.0.0.1:{}/_aws/execute-api/{api}{}", self.port, url.path())
    }

    /// Invokes the alias `live`. Returns the response and the version that it comes from.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> (Value, String) {
        let url = format!("{}/2015-03-31/functions/{function}/invocations?Qualifier=live", self.url());
        let response =
            self.http.post(url).header(AUTHORIZATION, CALLER).json(event).send().await.expect("the emulator answers");
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (failed, version) = (header("x-amz-function-error"), header("x-amz-executed-version"));
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(failed, None, "{answer}");
        (answer, version.expect("a version"))
    }

    /// The version that the alias `live` of a function selects, if it has the alias.
    pub(crate) async fn version(&self, function: &str) -> Option<String> {
        let url = format!("{}/2015-03-31/functions/{function}/aliases/live", self.url());
        let alias = self.http.get(url).header(AUTHORIZATION, CALLER).send().await.expect("the emulator answers");
        let alias: Value = alias.json().await.expect("JSON");
        Some(alias["FunctionVersion"].as_str()?.to_owned())
    }

    /// The configuration of SDK clients of the emulator.
    pub(crate) fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test")))
            .endpoint_url(self.url())
            .http_client(aws::http_client(None))
            .build()
    }

    pub(crate) fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(&self.config())
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config())
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config())
    }
}

/// An environment that connects a program only to the emulator. The functions inherit it from the emulator, which adds its
/// port.
fn environment(command: &mut Command, port: Option<u16>) {
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_uppercase();
        if name_text.starts_with("AWS_") || name_text.starts_with("CLERK_") || name_text.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_DEFAULT_REGION", REGION)
        .env("SAM_CLI_TELEMETRY", "0");
    if let Some(port) = port {
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    }
}
