//! The output of the functions: kept for the dashboard, and printed as one readable line for each request.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use axum::{
    extract::{Request, State as Logged},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};
use url::Url;
use uuid::Uuid;

use crate::{
    clerk::{Clerk, now_ms},
    functions::url_path,
    guard::{ORIGIN_NOT_ALLOWED, Rejected},
    invoker::PROBE,
};

/// The largest number of lines that are kept.
const KEPT: usize = 1000;
/// The header of the doctor's own requests. The developer did not make them, so their lines are neither printed nor kept.
pub(crate) const DOCTOR: HeaderName = HeaderName::from_static("x-local-doctor");
/// The longest time between an own request and its line, in milliseconds.
const OWN_TIMEOUT: u64 = 600_000;
/// The message of the line that each instance of a function writes when it starts.
const CONFIGURED: &str = "configured";
/// The begin of cargo-lambda's line for a process that it stops because code has changed.
const STOPPED: &str = "ERROR command killed";
/// The begin of its line for a process that has ended, also because code does not compile. The status follows.
const ENDED: &str = "ERROR command exited code=";
/// The begin of cargo-lambda's lines about its progress.
const PROGRESS: &str = " INFO ";
/// The begin of cargo's last line when code does not compile. The package's name follows in backticks.
const END_OF_ERRORS: &str = "error: could not compile `";
/// The largest size of the messages that are kept, in bytes.
const MAX_MESSAGES: usize = 64 << 10;
/// A message on standard error ends when nothing follows for this long.
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);

/// How the functions' log lines are printed.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One readable line for each request
    #[default]
    Text,
    /// The lines as the functions write them
    Json,
}

/// A log line of a function.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Milliseconds since the epoch.
    pub(crate) at: u64,
    members: Map<String, Value>,
}

impl Line {
    /// A JSON object with a time.
    fn parse(text: &str) -> Option<Self> {
        let members: Map<String, Value> = serde_json::from_str(text).ok()?;
        let metric = members.get("_aws").and_then(|metadata| metadata.get("Timestamp")?.as_u64());
        let message = || members.get("timestamp")?.as_str()?.parse::<Timestamp>().ok();
        let at = metric.or_else(|| message()?.as_millisecond().try_into().ok())?;
        Some(Self { at, members })
    }

    /// A member that is a text, or an empty text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A member that is a number, or 0.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.members.get(name).and_then(Value::as_f64).unwrap_or_default()
    }

    /// The status of a request's response, or 0.
    pub(crate) fn status(&self) -> u16 {
        self.members.get("status").and_then(Value::as_u64).and_then(|status| status.try_into().ok()).unwrap_or_default()
    }

    /// Whether it is the line of a request.
    pub(crate) fn is_request(&self) -> bool {
        self.text("message") == "request"
    }

    /// Whether it is the line of a batch of stream records.
    pub(crate) fn is_batch(&self) -> bool {
        self.text("message") == "batch"
    }

    /// Whether it says that something is wrong: it has the code of a problem, or its level.
    pub(crate) fn is_problem(&self) -> bool {
        !self.text("code").is_empty() || ["WARN", "ERROR"].contains(&self.text("level"))
    }

    /// All members, as the function wrote them.
    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// The lines of the functions, and how they are printed.
pub(crate) struct Logs {
    format: Format,
    clerk: Arc<Clerk>,
    /// The text that is printed when the stack is ready.
    greeting: OnceLock<String>,
    changes: OnceLock<UnboundedSender<Change>>,
    state: Mutex<State>,
}

/// What happens to functions whose code has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Their processes are stopped.
    Stopped,
    /// A process has ended with this status.
    Ended(String),
    /// This package does not compile.
    Broken(String),
}

/// A request of the doctor.
#[derive(Clone, Debug)]
struct OwnRequest {
    id: Uuid,
    method: String,
    /// As in its line.
    route: String,
    has_token: bool,
    /// Milliseconds since the epoch.
    began_at: u64,
    ended_at: Option<u64>,
}

#[derive(Default)]
struct State {
    /// The requests whose lines have not been read yet.
    own: Vec<OwnRequest>,
    /// The newest last.
    lines: VecDeque<Line>,
    /// The messages on standard error since all functions responded.
    messages: String,
    /// The last of them. Each instance of a function repeats the compiler's.
    last_message: String,
    /// Whether the functions are being stopped, of which cargo-lambda complains.
    is_stopping: bool,
}

impl State {
    /// Whether a line was not caused by the developer. Each own request has one line.
    fn is_own(&mut self, line: &Line) -> bool {
        if line.text("method") == PROBE || (line.is_batch() && line.number("records") < 1.0) {
            return true;
        }
        let has_written = |request: &OwnRequest| {
            let until = request.ended_at.unwrap_or(request.began_at + OWN_TIMEOUT);
            (request.began_at..=until).contains(&line.at)
                && (line.text("method"), line.text("route")) == (request.method.as_str(), request.route.as_str())
                && (request.has_token || line.text("user").is_empty())
        };
        let found = self.own.iter().position(has_written);
        found.map(|position| self.own.swap_remove(position)).is_some()
    }
}

/// Middleware: notes what functions do not log: which requests are the doctor's, and those that the guard has rejected.
pub(crate) async fn note(Logged(logs): Logged<Arc<Logs>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(DOCTOR) {
        let method = request.method().to_string();
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
        let response = next.run(request).await;
        if let Some(rejected) = response.extensions().get() {
            logs.keep_rejected(response.status(), rejected, &method, origin.as_deref());
        }
        return response;
    }
    let route = match request.uri().path() {
        _ if request.headers().contains_key(header::SEC_WEBSOCKET_KEY) => "/$connect",
        path if path.starts_with(&url_path("")) => "/",
        path => path,
    };
    let protocols = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
    let has_token = request.headers().contains_key(header::AUTHORIZATION)
        || protocols.is_some_and(|protocols| protocols.windows(7).any(|part| part == b"bearer."));
    let _own = logs.own_request(request.method().as_str(), route, has_token);
    next.run(request).await
}

/// A running request whose line is not the developer's.
struct Own<'a>(&'a Logs, Uuid);

impl Drop for Own<'_> {
    fn drop(&mut self) {
        // Also if its client has abandoned it: one that waits for the function is then not sent.
        if let Some(request) = self.0.state().own.iter_mut().find(|request| request.id == self.1) {
            request.ended_at = Some(now_ms());
        }
    }
}

/// What is printed for a line of standard output.
#[derive(Debug, PartialEq, Eq)]
enum Printed {
    Nothing,
    Text(String),
    /// On standard error.
    Message(String),
}

impl Logs {
    /// Prints lines in `format`, with the ids of the users of `clerk`.
    pub(crate) fn new(format: Format, clerk: Arc<Clerk>) -> Arc<Self> {
        let (greeting, changes) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { format, clerk, greeting, changes, state: Mutex::default() })
    }

    /// Reads the output of cargo-lambda and the functions until they end, and returns the changes that it reports.
    pub(crate) fn follow(self: &Arc<Self>, functions: &mut Child) -> UnboundedReceiver<Change> {
        let (sender, changes) = unbounded_channel();
        // Only once.
        drop(self.changes.set(sender));
        if let Some(output) = functions.stdout.take() {
            tokio::spawn(Arc::clone(self).read_lines(output));
        }
        if let Some(errors) = functions.stderr.take() {
            tokio::spawn(Arc::clone(self).read_messages(errors));
        }
        changes
    }

    fn report(&self, change: Change) {
        // At the end of the stack, the receiver is gone.
        drop(self.changes.get().map(|changes| changes.send(change)));
    }

    /// Notes a request until the returned value is dropped. `route` is as in its line.
    fn own_request(&self, method: &str, route: &str, has_token: bool) -> Own<'_> {
        let (id, began_at) = (Uuid::new_v4(), now_ms());
        let (method, route) = (method.to_owned(), route.to_owned());
        let own = &mut self.state().own;
        own.retain(|request| began_at < request.began_at + OWN_TIMEOUT);
        own.push(OwnRequest { id, method, route, has_token, began_at, ended_at: None });
        Own(self, id)
    }

    async fn read_lines(self: Arc<Self>, output: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(output).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line);
            match self.add(line.trim_end()) {
                Printed::Nothing => {}
                Printed::Text(text) => anstream::println!("{text}"),
                Printed::Message(text) => eprintln!("{text}"),
            }
        }
    }

    /// Reads what the compiler and panics write. Lines that arrive together are one message.
    async fn read_messages(self: Arc<Self>, errors: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(errors).split(b'\n');
        let mut message = String::new();
        loop {
            let line = if message.is_empty() {
                Ok(lines.next_segment().await)
            } else {
                timeout(MESSAGE_PAUSE, lines.next_segment()).await
            };
            let is_last = match line {
                Ok(Ok(Some(line))) => {
                    let line = String::from_utf8_lossy(&line);
                    message.extend([line.as_ref(), "\n"]);
                    line.starts_with(END_OF_ERRORS)
                }
                Ok(_) => return self.print(&message),
                Err(_) => true,
            };
            if is_last {
                self.print(&message);
                message.clear();
            }
        }
    }

    /// Prints a message on standard error, unless it repeats the last one, and reports what does not compile.
    pub(crate) fn print(&self, message: &str) {
        let mut state = self.state();
        for package in message.lines().filter_map(|line| line.strip_prefix(END_OF_ERRORS)?.split('`').next()) {
            self.report(Change::Broken(package.to_owned()));
        }
        if state.last_message != message {
            eprint!("{message}");
            message.clone_into(&mut state.last_message);
            state.messages.push_str(message);
            let excess = state.messages.len().saturating_sub(MAX_MESSAGES);
            let excess = state.messages.ceil_char_boundary(excess);
            state.messages.drain(..excess);
        }
    }

    /// Prints the greeting.
    pub(crate) fn greet(&self, text: String) {
        // Only once.
        drop(self.greeting.set(text));
        self.greet_again();
    }

    /// Prints the greeting after a reload.
    pub(crate) fn greet_again(&self) {
        // The next message is of another reload.
        {
            let mut state = self.state();
            state.last_message.clear();
            state.messages.clear();
        }
        let Some(text) = self.greeting.get() else { return };
        match self.format {
            Format::Text => println!("{text}"),
            // Programs read standard output, which has only JSON.
            Format::Json => eprintln!("{text}"),
        }
    }

    /// From now on, cargo-lambda's own lines are not printed.
    pub(crate) fn stop(&self) {
        self.state().is_stopping = true;
    }

    /// The messages on standard error since all functions responded.
    pub(crate) fn messages(&self) -> String {
        self.state().messages.clone()
    }

    /// Keeps a line for a request that did not reach a function, and prints it.
    fn keep_rejected(&self, status: StatusCode, rejected: &Rejected, method: &str, origin: Option<&str>) {
        let Rejected { code, cause } = rejected;
        let mut line = json!({
            "timestamp": Timestamp::now().to_string(), "level": "INFO", "message": "request", "function": "local stack",
            "request_id": Uuid::new_v4().to_string(), "method": method, "route": "-", "status": status.as_u16(),
            "duration_ms": 0.0, "code": code,
        });
        for (name, value) in [("cause", cause.as_deref()), ("origin", origin)] {
            if let (Some(value), Some(members)) = (value, line.as_object_mut()) {
                members.insert(name.to_owned(), value.into());
            }
        }
        if let Printed::Text(text) = self.add(&line.to_string()) {
            anstream::println!("{text}");
        }
    }

    /// The origins on this machine whose pages were rejected. A page of another one may be an attacker's.
    pub(crate) fn rejected_origins(&self) -> Vec<String> {
        let lines = self.recent().into_iter().filter(|line| line.text("code") == ORIGIN_NOT_ALLOWED);
        let urls = lines.filter_map(|line| Url::parse(line.text("origin")).ok());
        let mut origins: Vec<_> = urls.filter(is_local).map(|url| url.origin().ascii_serialization()).collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// The lines of requests and batches, warnings and errors, the newest first.
    pub(crate) fn recent(&self) -> Vec<Line> {
        self.state().lines.iter().rev().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a line of standard output, and decides what is printed for it.
    fn add(&self, text: &str) -> Printed {
        let line = Line::parse(text);
        let mut state = self.state();
        let is_own = line.as_ref().is_some_and(|line| state.is_own(line));
        let is_kept = |line: &&Line| line.is_request() || line.is_batch() || line.is_problem();
        if let Some(line) = line.as_ref().filter(is_kept).filter(|_| !is_own) {
            state.lines.push_back(line.clone());
            if state.lines.len() > KEPT {
                state.lines.pop_front();
            }
        }
        let is_json = || self.format == Format::Json;
        match &line {
            Some(_) if is_own => Printed::Nothing,
            Some(_) if is_json() => Printed::Text(text.to_owned()),
            Some(line) if line.text("message") == CONFIGURED => Printed::Nothing,
            Some(line) => Printed::Text(readable(line, self.clerk.user_with_tag(line.text("user")).as_deref())),
            None if text.starts_with(STOPPED) => {
                self.report(Change::Stopped);
                Printed::Nothing
            }
            None if let Some(status) = text.strip_prefix(ENDED) => {
                self.report(Change::Ended(status.to_owned()));
                Printed::Nothing
            }
            None if state.is_stopping || text.starts_with(PROGRESS) => Printed::Nothing,
            None if is_json() => Printed::Message(text.to_owned()),
            None => Printed::Text(text.to_owned()),
        }
    }
}

/// A line in columns. `user` is the id of the user whose tag it has.
fn readable(line: &Line, user: Option<&str>) -> String {
    let time = Timestamp::from_millisecond(line.at.try_into().unwrap_or_default()).unwrap_or_default();
    let time = time.to_zoned(TimeZone::system()).strftime("%H:%M:%S");
    let duration = format!("{:.1} ms", line.number("duration_ms"));
    let function = line.text("function");
    let mut text = if line.is_request() {
        let (status, method, route) = (line.status(), line.text("method"), line.text("route"));
        let style = style(match status {
            500.. => "ERROR",
            400..500 => "WARN",
            _ => "",
        });
        let user = user.unwrap_or_else(|| Some(line.text("user")).filter(|tag| !tag.is_empty()).unwrap_or("-"));
        let code = Some(line.text("code")).filter(|code| !code.is_empty());
        let code = code.map(|code| format!("  {style}{code}{style:#}")).unwrap_or_default();
        format!(
            "{time}  {style}{status}{style:#}  {method:<6}  {function:<13}  {route:<20}  {duration:>9}  {user:<12}{code}"
        )
        .trim_end()
        .to_owned()
    } else if line.is_batch() {
        let level = style(line.text("level"));
        let [records, pokes, cuts, failures] = ["records", "Pokes", "Cuts", "Failures"].map(|name| line.number(name));
        let failed = if failures > 0.0 { format!("  {level}{failures} failed{level:#}") } else { String::new() };
        format!(
            "{time}  {level}---{level:#}  {:<6}  {function:<13}  {:<20}  {duration:>9}  -{failed}",
            "stream",
            format!("{records} > {pokes} sent, {cuts} cut"),
        )
    } else {
        let level = line.text("level");
        let style = style(level);
        format!("{time}  {style}{level:<5}{style:#}  {}", line.text("message"))
    };
    let shown: &[&str] = if line.is_request() { &["event", "outcome", "cause", "origin"] } else { &[] };
    for (name, value) in &line.members {
        let is_shown = if line.is_request() || line.is_batch() {
            shown.contains(&name.as_str())
        } else {
            !["level", "message", "target", "timestamp"].contains(&name.as_str())
        };
        if is_shown {
            let value = printable(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            // Writing into a string cannot fail.
            let _ = write!(text, "  {name}={value}");
        }
    }
    text
}

/// Whether a page is served by this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    ["http", "https"].contains(&url.scheme()) && clerk_auth::is_loopback(url)
}

/// A text without characters that change what a terminal shows, such as control characters and changes of direction.
pub(crate) fn printable(text: &str) -> String {
    let escaped = |character: char| {
        // Otherwise, quotes and backslashes would be escaped as well.
        if character.is_ascii_graphic() { character.to_string() } else { character.escape_debug().to_string() }
    };
    text.chars().map(escaped).collect()
}

fn style(level: &str) -> Style {
    match level {
        "ERROR" => AnsiColor::Red.on_default().bold(),
        "WARN" => AnsiColor::Yellow.on_default(),
        "DEBUG" | "TRACE" => Style::new().dimmed(),
        _ => AnsiColor::Green.on_default(),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use super::*;

    const STOPPED_LINE: &str = "ERROR command killed code=ForceStop";

    fn logs(format: Format) -> (Arc<Logs>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let clerk = Clerk::load(folder.path(), "http://localhost".to_owned(), Vec::new(), String::new());
        (Logs::new(format, clerk.expect("a new instance")), folder)
    }

    fn request(at: u64, status: u16, more: Value) -> String {
        let mut line = json!({
            "_aws": { "Timestamp": at }, "status": status, "duration_ms": 12.345, "message": "request",
            "function": "chats", "method": "GET", "route": "/chats/{chat}", "level": "INFO",
        });
        let members = line.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        line.to_string()
    }

    /// The printed text without colors and without the time.
    fn printed(logs: &Logs, text: &str) -> Option<String> {
        match logs.add(text) {
            Printed::Text(text) => Some(anstream::adapter::strip_str(&text).to_string().split_off(10)),
            _ => None,
        }
    }

    #[test]
    fn requests_are_printed_in_columns() {
        let (logs, _folder) = logs(Format::Text);
        logs.greet(String::new());
        let later = now_ms() + 1;
        let lines = [
            request(later, 200, json!({ "user": "1f0e" })),
            request(later, 412, json!({ "code": "version_mismatch" })),
            request(later, 500, json!({ "code": "internal", "cause": "CHATS_TABLE is not set" })),
        ];
        let texts: Vec<_> = lines.iter().filter_map(|line| printed(&logs, line)).collect();
        assert_eq!(
            texts,
            [
                "200  GET     chats          /chats/{chat}           12.3 ms  1f0e",
                "412  GET     chats          /chats/{chat}           12.3 ms  -             version_mismatch",
                "500  GET     chats          /chats/{chat}           12.3 ms  -             internal  cause=CHATS_TABLE is not set",
            ]
        );
        let Printed::Text(colored) = logs.add(lines.last().expect("three")) else { panic!("it is printed") };
        assert!(colored.contains("\u{1b}[31m500\u{1b}[0m"), "{colored:?}");
    }

    #[test]
    fn batches_and_messages_are_printed() {
        let (logs, _folder) = logs(Format::Text);
        logs.greet(String::new());
        let batch = json!({
            "_aws": { "Timestamp": now_ms() + 1 }, "records": 3, "Pokes": 2, "Cuts": 1, "Failures": 1, "level": "ERROR",
            "duration_ms": 3.0, "message": "batch", "function": "live-notify",
        });
        let text = printed(&logs, &batch.to_string());
        let expected = "---  stream  live-notify    3 > 2 sent, 1 cut        3.0 ms  -  1 failed";
        assert_eq!(text.as_deref(), Some(expected));
        let message = json!({
            "timestamp": "2026-01-02T03:04:05.678Z", "level": "WARN", "message": "keys cannot be fetched",
            "url": "http://localhost", "target": "clerk_auth::keys",
        });
        let text = printed(&logs, &message.to_string());
        assert_eq!(text.as_deref(), Some("WARN   keys cannot be fetched  url=http://localhost"));
        assert_eq!(logs.recent().iter().filter(|line| line.is_batch()).count(), 1, "the other is a warning");
    }

    #[test]
    fn probes_of_functions_are_neither_printed_nor_kept() {
        let (logs, _folder) = logs(Format::Text);
        assert_eq!(logs.add(&request(now_ms(), 405, json!({ "method": PROBE }))), Printed::Nothing);
        let empty = json!({ "message": "batch", "records": 0 });
        assert_eq!(logs.add(&request(now_ms(), 0, empty)), Printed::Nothing);
        assert!(logs.recent().is_empty());
        logs.add(&request(now_ms(), 401, json!({})));
        assert_eq!(logs.recent().len(), 1, "also before the stack is ready");
    }

    #[test]
    fn warnings_and_errors_are_kept() {
        let (logs, _folder) = logs(Format::Text);
        for level in ["INFO", "WARN", "ERROR"] {
            let line = json!({ "timestamp": "2026-01-02T03:04:05Z", "level": level, "message": "not configured" });
            logs.add(&line.to_string());
        }
        let levels: Vec<_> = logs.recent().iter().map(|line| line.text("level").to_owned()).collect();
        assert_eq!(levels, ["ERROR", "WARN"]);
    }

    #[test]
    fn raw_lines_are_printed_and_kept_as_well() {
        let (logs, _folder) = logs(Format::Json);
        logs.greet(String::new());
        let line = request(now_ms() + 1, 200, json!({}));
        assert_eq!(logs.add(&line), Printed::Text(line.clone()));
        assert_eq!(logs.recent().len(), 1);
    }

    #[test]
    fn only_json_is_on_standard_output_if_programs_read_it() {
        let (logs, _folder) = logs(Format::Json);
        logs.greet(String::new());
        for text in [" INFO starting", STOPPED_LINE, "ERROR command exited code=101"] {
            assert_eq!(logs.add(text), Printed::Nothing);
        }
        assert_eq!(logs.add("a print of a function"), Printed::Message("a print of a function".to_owned()));
    }

    #[test]
    fn the_doctors_requests_are_neither_printed_nor_kept() {
        let (logs, _folder) = logs(Format::Text);
        logs.greet(String::new());
        let later = now_ms() + 10;
        let doctors = |began_at, ended_at| {
            let (method, route) = ("GET".to_owned(), "/chats/{chat}".to_owned());
            OwnRequest { id: Uuid::new_v4(), method, route, has_token: false, began_at, ended_at }
        };
        logs.state().own = vec![doctors(later, Some(later + 2)), doctors(later + 5, None)];
        for at in [later + 1, later + 6] {
            assert_eq!(logs.add(&request(at, 401, json!({}))), Printed::Nothing);
        }
        assert!(logs.recent().is_empty());
        logs.add(&request(later + 1, 401, json!({})));
        assert_eq!(logs.recent().len(), 1, "each has only one line");
        logs.state().own = vec![doctors(later, Some(later + 2))];
        logs.add(&request(later + 3, 401, json!({})));
        logs.add(&request(later + 1, 401, json!({ "method": "DELETE" })));
        logs.add(&request(later + 1, 200, json!({ "user": "1f0e" })));
        assert_eq!(logs.recent().len(), 4, "it ended before, or was another");
    }

    #[test]
    fn rejected_pages_of_this_machine_are_known() {
        let (logs, _folder) = logs(Format::Text);
        let rejected = |code| Rejected { code, cause: None };
        for origin in
            ["http://localhost:5173", "https://evil.example", "null", "app://localhost", "http://localhost:5173"]
        {
            logs.keep_rejected(StatusCode::FORBIDDEN, &rejected(ORIGIN_NOT_ALLOWED), "GET", Some(origin));
        }
        logs.keep_rejected(StatusCode::FORBIDDEN, &rejected("host_not_allowed"), "GET", Some("http://localhost:1"));
        assert_eq!(logs.recent().len(), 6);
        assert_eq!(logs.rejected_origins(), ["http://localhost:5173"]);
    }

    #[test]
    fn what_would_change_the_terminal_is_escaped() {
        assert_eq!(printable("a\"b\\ ü✓"), "a\"b\\ ü✓");
        assert_eq!(printable("\u{1b}[31m\u{9b}31m\u{202e}\n"), "\\u{1b}[31m\\u{9b}31m\\u{202e}\\n");
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let (logs, _folder) = logs(Format::Text);
        logs.greet(String::new());
        let later = now_ms() + 1;
        for status in 0..=u16::try_from(KEPT).expect("few") {
            logs.add(&request(later, status, json!({})));
        }
        let kept: Vec<_> = logs.recent().iter().map(Line::status).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (KEPT, Some(&1000), Some(&1)));
    }

    #[test]
    fn complaints_of_cargo_lambda_at_the_end_are_not_printed() {
        let (logs, _folder) = logs(Format::Text);
        let complaint = "ERROR internal error watching your project";
        assert_eq!(logs.add(complaint), Printed::Text(complaint.to_owned()));
        logs.stop();
        assert_eq!(logs.add(complaint), Printed::Nothing);
        assert_ne!(logs.add(&request(now_ms(), 200, json!({}))), Printed::Nothing);
    }

    #[test]
    fn changes_of_functions_are_reported() {
        let (logs, _folder) = logs(Format::Text);
        let (sender, mut changes) = unbounded_channel();
        drop(logs.changes.set(sender));
        for text in [STOPPED_LINE, " INFO starting lambda function instance"] {
            assert_eq!(logs.add(text), Printed::Nothing);
        }
        logs.print(
            "error: expected one of\n\nerror: could not compile `chats` (bin \"chats\") due to 1 previous error\n",
        );
        logs.add("ERROR command exited code=ExitStatus(3)");
        assert_eq!(changes.try_recv().ok(), Some(Change::Stopped));
        assert_eq!(changes.try_recv().ok(), Some(Change::Broken("chats".to_owned())));
        assert_eq!(changes.try_recv().ok(), Some(Change::Ended("ExitStatus(3)".to_owned())));
        assert!(changes.try_recv().is_err());
    }

    #[test]
    fn a_repeated_compiler_message_is_noticed_until_all_functions_respond() {
        let (logs, _folder) = logs(Format::Text);
        logs.print("error: could not compile `chats`\n");
        logs.print("error: could not compile `chats`\n");
        assert_eq!(logs.messages(), "error: could not compile `chats`\n");
        logs.add(STOPPED_LINE);
        assert_eq!(logs.messages(), "error: could not compile `chats`\n");
        logs.greet_again();
        assert_eq!(logs.messages(), "");
    }
}
