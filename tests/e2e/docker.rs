//! Functions in Docker, by `sam local`. Without a Docker engine or Lambda's image, the tests are skipped with a message.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;

use crate::{
    client::User,
    events::{is_success, sample_events},
    stack::{program, stack, workspace},
};

/// The timeout for the first response of a function in Docker.
const START_TIMEOUT: Duration = Duration::from_mins(2);

fn docker(arguments: &[&str]) -> bool {
    Command::new("docker").args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Whether functions can run in Docker. If they can, builds them; if not, prints which test is skipped and why.
fn is_ready(test: &str) -> bool {
    /// Why they cannot.
    static MISSING: LazyLock<Option<&str>> = LazyLock::new(|| {
        let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let image = format!("public.ecr.aws/lambda/provided:al2023-{processor}");
        if !docker(&["info"]) {
            return Some("no Docker engine answers");
        }
        if !docker(&["image", "inspect", &image]) && !docker(&["pull", "--quiet", &image]) {
            return Some("Docker has no image of Lambda's and cannot pull one");
        }
        let built = Command::new("make").arg("build-here").current_dir(workspace()).status().expect("make runs");
        assert!(built.success(), "the functions do not build");
        None
    });
    if let Some(reason) = *MISSING {
        // Not captured by the test harness.
        writeln!(io::stderr(), "skipped: {test}; {reason}").expect("standard error is there");
    }
    MISSING.is_none()
}

/// A command of the local stack that runs functions in Docker, without pulling the image.
fn local(arguments: &[&str]) -> Command {
    let mut local = stack().command(&program("local"));
    local.args(arguments).env("SAM_SKIP_PULL_IMAGE", "1");
    local
}

#[test]
fn each_function_succeeds_in_docker_on_its_sample() {
    if !is_ready("each_function_succeeds_in_docker_on_its_sample") {
        return;
    }
    for (function, sample) in sample_events() {
        let output = local(&["invoke", &function, &sample]).output().expect("local runs");
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The last line is the response. The function's log is on standard error.
        let answer: Value = printed.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert!(is_success(&answer), "{function} {sample}: {printed}\n{errors}");
    }
}

/// `sam local start-api`, which stops when this is dropped.
struct Api(Child);

impl Drop for Api {
    fn drop(&mut self) {
        // The SAM CLI removes its containers before it ends.
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-INT", "--", &group]).status().expect("kill runs");
        self.0.wait().expect("it ends");
    }
}

#[tokio::test]
async fn the_api_is_served_from_docker() {
    if !is_ready("the_api_is_served_from_docker") {
        return;
    }
    let mut command = local(&["start-api", "--port", "0"]);
    let mut api = Api(command.stdout(Stdio::piped()).process_group(0).spawn().expect("local runs"));
    // Borrowed, since the SAM CLI writes to it until it ends.
    let mut lines = BufReader::new(api.0.stdout.as_mut().expect("standard output is piped")).lines();
    let url = lines
        .find_map(|line| Some(line.ok()?.split_once("in Docker is at ")?.1.to_owned()))
        .expect("it prints its URL");

    let token = User::sign_up("Ada").token();
    let http = Client::builder().no_proxy().timeout(START_TIMEOUT).build().expect("a client");
    let profile = || http.get(format!("{url}/profile"));
    let deadline = Instant::now() + START_TIMEOUT;
    while profile().send().await.expect("the guard answers").status() == 502 {
        assert!(Instant::now() < deadline, "the SAM CLI does not answer");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for (request, status) in [
        (profile(), 401),
        (profile().bearer_auth(&token), 200),
        (profile().bearer_auth(&token).header("origin", "http://evil.example"), 403),
        (profile().bearer_auth(&token).header("host", "evil.example"), 403),
    ] {
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), status, "{}", answer.text().await.expect("text"));
    }
}

#[test]
fn invoking_without_docker_is_an_error() {
    if docker(&["info"]) {
        return;
    }
    let invoked = stack().run(&["invoke", "profile", "get-profile"]);
    let errors = String::from_utf8_lossy(&invoked.stderr);
    assert!(!invoked.status.success(), "{errors}");
    assert!(["Docker", "make invoke"].iter().any(|word| errors.contains(word)), "{errors}");
}
