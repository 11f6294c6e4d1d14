//! The local stack, as `make run` starts it, on free ports and with empty tables.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, UNIX_EPOCH},
};

/// Long enough for a slow machine to build what a change made stale.
const START_TIMEOUT: Duration = Duration::from_mins(10);

pub(crate) struct Stack {
    api: String,
    clerk: String,
    database: String,
    /// The URL of the WebSocket API.
    live: String,
    /// The URL of cargo-lambda.
    lambda: String,
    data: PathBuf,
    /// The stack stops when this is closed, which the system does when the test binary ends, however it ends.
    _lifeline: ChildStdin,
    _process: Child,
}

/// The stack that all tests share. Each test has its own users.
pub(crate) fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(Stack::start)
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate")
}

/// A program of the workspace, built if necessary.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let arguments = ["build", "--quiet", "--workspace", "--bins"];
        let built = Command::new(env!("CARGO")).args(arguments).current_dir(workspace()).status().expect("cargo runs");
        assert!(built.success(), "the programs do not build");
        let test = std::env::current_exe().expect("this test has a path");
        test.ancestors().nth(2).expect("target/debug holds deps").to_owned()
    });
    folder.join(name)
}

/// Seconds since the epoch, after the programs are built, so that tokens do not expire during the build.
pub(crate) fn now() -> u64 {
    program("local");
    UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

static LOG: Mutex<String> = Mutex::new(String::new());

/// The port of an origin.
fn port(origin: &str) -> &str {
    origin.rsplit(':').next().expect("an origin of a local stack has a port")
}

impl Stack {
    fn start() -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stack-{}", std::process::id()));
        fs::create_dir_all(&data).expect("the target folder can be written to");
        let mut process = Command::new(program("local"))
            .args(["run", "--no-reload", "--api-only", "--until-stdin-closes"])
            .current_dir(workspace())
            .envs(["API_PORT", "CLERK_PORT", "DYNAMODB_PORT", "LIVE_PORT"].map(|port| (port, "0")))
            .env("WEB_PORT", "3000")
            .env("LOGS", "json")
            .env("LOCAL_DATA", &data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("local starts");
        let lifeline = process.stdin.take().expect("standard input is piped");

        let (ready, is_ready) = mpsc::channel();
        let stdout = process.stdout.take().expect("standard output is piped");
        let stderr = process.stderr.take().expect("standard error is piped");
        let follow = |lines: Box<dyn BufRead + Send>, ready: mpsc::Sender<()>| {
            thread::spawn(move || {
                for line in lines.lines().map_while(Result::ok) {
                    if line.trim() == "ready" {
                        // The receiver is gone after the timeout.
                        let _ = ready.send(());
                    }
                    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        };
        follow(Box::new(BufReader::new(stdout)), ready.clone());
        follow(Box::new(BufReader::new(stderr)), ready);
        let started = is_ready.recv_timeout(START_TIMEOUT).is_ok();
        let printed = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(started, "the stack did not start:\n{printed}");
        let url = |part: &str| {
            let mut lines = printed.lines().filter_map(|line| line.trim().strip_prefix(part));
            let url = lines.find_map(|rest| reqwest::Url::parse(rest.trim()).ok());
            url.unwrap_or_else(|| panic!("it does not say where {part} is:\n{printed}"))
        };
        let origin = |part| url(part).origin().ascii_serialization();
        let [api, clerk, database, lambda] = ["API", "Clerk", "DynamoDB", "Invoke"].map(origin);
        let live = url("live").into();
        Self { api, clerk, database, live, lambda, data, _lifeline: lifeline, _process: process }
    }

    pub(crate) fn api(&self) -> String {
        self.api.clone()
    }

    pub(crate) fn clerk(&self) -> &str {
        &self.clerk
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The URL of the WebSocket API.
    pub(crate) fn live(&self) -> &str {
        &self.live
    }

    /// The URL by which functions send to a connection.
    pub(crate) fn connections(&self, id: &str) -> String {
        format!("{}/@connections/{id}", self.live.replacen("ws", "http", 1))
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn webhook(&self) -> String {
        format!("{}/lambda-url/clerk-webhook", self.api())
    }

    /// Lambda's URL for invoking a function with an event.
    pub(crate) fn invoke(&self, function: &str) -> String {
        format!("{}/2015-03-31/functions/{function}/invocations", self.lambda)
    }

    /// Runs a command as the documents have it: `cargo dev <arguments>`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(&program("local")).args(arguments).output().expect("local runs")
    }

    /// A command that finds this stack.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(workspace())
            .env("API_PORT", port(&self.api))
            .env("CLERK_PORT", port(&self.clerk))
            .env("DYNAMODB_PORT", port(&self.database))
            .env("LOCAL_DATA", &self.data);
        command
    }

    /// Runs a command, which must succeed, and returns its output.
    pub(crate) fn local(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "local {arguments:?} failed: {errors}");
        String::from_utf8(output.stdout).expect("it prints UTF-8").trim().to_owned()
    }

    /// The output of the stack so far, including the functions' logs.
    pub(crate) fn log() -> String {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The secret with which the development Clerk signs webhooks.
    pub(crate) fn webhook_secret(&self) -> String {
        self.local(&["webhook-secret"])
    }
}

/// A file of the project.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).expect("the file is there")
}
