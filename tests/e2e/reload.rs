//! `make run` while a developer edits a function.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Longer than a function takes to compile.
const TIMEOUT: Duration = Duration::from_mins(3);

/// A stack of a copied workspace, which stops when it is dropped.
struct Running {
    process: Child,
    lifeline: Option<ChildStdin>,
    lines: Receiver<String>,
    printed: Vec<String>,
}

impl Running {
    fn start(workspace: &Path) -> Self {
        let mut process = Command::new(workspace.join("target/debug/local"))
            .args(["run", "--api-only", "--until-stdin-closes"])
            .current_dir(workspace)
            .envs(["API_PORT", "CLERK_PORT", "DYNAMODB_PORT", "LIVE_PORT", "WEB_PORT"].map(|port| (port, "0")))
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("local starts");
        let (sender, lines) = channel();
        follow(process.stdout.take().expect("it is piped"), sender.clone());
        follow(process.stderr.take().expect("it is piped"), sender);
        let lifeline = process.stdin.take();
        Self { process, lifeline, lines, printed: Vec::new() }
    }

    /// Reads lines until one contains a text, and returns it. A line break stands for the begin of the line.
    fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("`{text}` was not printed:\n{}", self.printed.join("\n")));
            self.printed.push(line.clone());
            if format!("\n{line}").contains(text) {
                return line;
            }
        }
    }

    /// How many lines have contained a text.
    fn count(&mut self, text: &str) -> usize {
        self.printed.extend(self.lines.try_iter());
        self.printed.iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.process.wait();
    }
}

fn follow(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The receiver is gone when the test has ended.
            let _ = lines.send(line);
        }
    });
}

/// The response to a request without a token.
fn get(host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).expect("the stack listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it can be written to");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

/// Breaks and repairs a function of a workspace while its stack runs.
pub(crate) fn edited_code_is_loaded(workspace: &Path, function: &str) {
    let mut running = Running::start(workspace);
    let line = running.wait_for("  API ");
    let host = line.trim().rsplit('/').next().expect("a URL").to_owned();
    running.wait_for("\nready");
    let path = format!("/{function}");
    let expect = |path: &str, status: &str, text: &str| {
        let response = get(&host, path);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")) && response.contains(text), "{response}");
    };
    expect(&path, "401", "token_missing");

    let main = workspace.join("functions").join(function).join("src/main.rs");
    let code = fs::read_to_string(&main).expect("it is there");
    let not_compiling = format!("error: could not compile `{function}`");
    fs::write(&main, format!("{code}\nfn broken( {{\n")).expect("it can be written");
    running.wait_for(&not_compiling);
    expect(&path, "503", "does not compile");
    // Until its process has started again, requests wait.
    expect("/profile", "401", "token_missing");
    fs::write(&main, &code).expect("it can be written");
    running.wait_for("\nready");
    expect(&path, "401", "token_missing");
    assert_eq!(running.count(&not_compiling), 1, "each process repeats it: {:?}", running.printed);

    let begin = "fn main() -> ExitCode {";
    let ending = code.replacen(begin, &format!("{begin}\n    if code() == 3 {{ std::process::exit(code()) }}"), 1);
    let ending = format!("{ending}\nfn code() -> i32 {{\n    3\n}}\n");
    assert_ne!(ending, code);
    fs::write(&main, ending).expect("it can be written");
    running.wait_for(&format!("{function} has ended"));
    expect(&path, "503", "has ended");
    fs::write(&main, &code).expect("it can be written");
    running.wait_for("\nready");
    expect(&path, "401", "token_missing");
}
