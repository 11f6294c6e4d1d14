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
    http::{HeaderName, header},
    middleware::Next,
    response::Response,
};
use clap::ValueEnum;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    time::{sleep, timeout},
};
use url::Url;
use uuid::Uuid;

use crate::{
    clerk::{Clerk, now_ms},
    functions::url_path,
    guard::{ORIGIN_NOT_ALLOWED, Rejected},
};

/// The largest number of lines that are kept.
const KEPT: usize = 1000;
/// The header of the doctor's own requests. The developer did not make them, so their lines are neither printed nor kept.
pub(crate) const DOCTOR: HeaderName = HeaderName::from_static("x-local-doctor");
/// The longest time between a request of the doctor and its line, in milliseconds: until the function compiles.
const DOCTORS_TIMEOUT: u64 = 600_000;
/// The message of the line that each instance of a function writes when it starts.
const CONFIGURED: &str = "configured";
/// The begin of cargo-lambda's lines for instances when code has changed: for those that it stops, and for those that ended
/// before because their code does not compile.
const STOPPED: [&str; 2] = ["ERROR command killed", "ERROR command exited"];
/// The begin of cargo-lambda's lines about its progress.
const PROGRESS: &str = " INFO ";
/// The begin of cargo's last line when code does not compile.
const END_OF_ERRORS: &str = "error: could not compile";
/// A reload ends when nothing more has started for this long, since cargo-lambda does not say when all have.
const RELOAD_PAUSE: Duration = Duration::from_secs(3);
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

    /// All members, as the function wrote them.
    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// The lines of the functions, and how they are printed.
pub(crate) struct Logs {
    format: Format,
    clerk: Arc<Clerk>,
    greeting: OnceLock<Greeting>,
    state: Mutex<State>,
}

/// The text that is printed when the stack is ready.
struct Greeting {
    text: String,
    at: u64,
}

/// A request of the doctor.
#[derive(Clone, Debug)]
struct DoctorsRequest {
    id: Uuid,
    method: String,
    /// As in its line.
    route: String,
    /// Milliseconds since the epoch.
    began_at: u64,
    ended_at: Option<u64>,
}

#[derive(Default)]
struct State {
    /// The requests whose lines have not been read yet.
    doctors: Vec<DoctorsRequest>,
    /// The newest last.
    lines: VecDeque<Line>,
    /// Whether functions were stopped because their code has changed, and not all have started again.
    is_reloading: bool,
    /// When the last one was stopped, in milliseconds since the epoch.
    stopped_at: u64,
    /// How many have started since the begin.
    started: u64,
    /// Whether code has not compiled since then, and when that was last said.
    has_failed: bool,
    failed_at: u64,
    /// The last message on standard error since then. Each instance of a function repeats the compiler's.
    last_message: String,
}

impl State {
    /// Whether the line of a request is one of the doctor's. Each has one line.
    fn is_doctors(&mut self, line: &Line) -> bool {
        let has_written = |request: &DoctorsRequest| {
            let until = request.ended_at.unwrap_or(request.began_at + DOCTORS_TIMEOUT);
            (request.began_at..=until).contains(&line.at)
                && (line.text("method"), line.text("route")) == (request.method.as_str(), request.route.as_str())
        };
        let found = self.doctors.iter().position(has_written);
        found.map(|position| self.doctors.swap_remove(position)).is_some()
    }
}

/// Middleware: notes what functions do not log: which requests are the doctor's, and those that the guard has rejected.
pub(crate) async fn note(Logged(logs): Logged<Arc<Logs>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(DOCTOR) {
        let method = request.method().to_string();
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
        let response = next.run(request).await;
        if let Some(Rejected(code)) = response.extensions().get() {
            logs.keep_rejected(code, &method, origin.as_deref());
        }
        return response;
    }
    let (id, began_at, method) = (Uuid::new_v4(), now_ms(), request.method().to_string());
    let route = match request.uri().path() {
        _ if request.headers().contains_key(header::SEC_WEBSOCKET_KEY) => "/$connect",
        path if path.starts_with(&url_path("")) => "/",
        path => path,
    };
    {
        let route = route.to_owned();
        let doctors = &mut logs.state().doctors;
        doctors.retain(|request| began_at < request.began_at + DOCTORS_TIMEOUT);
        doctors.push(DoctorsRequest { id, method, route, began_at, ended_at: None });
    }
    let response = next.run(request).await;
    if let Some(request) = logs.state().doctors.iter_mut().find(|request| request.id == id) {
        request.ended_at = Some(now_ms());
    }
    response
}

/// What is printed for a line of standard output.
#[derive(Debug, PartialEq, Eq)]
enum Printed {
    Nothing,
    /// If no further function starts after this number of them.
    Greeting(u64),
    Text(String),
    /// On standard error.
    Message(String),
}

impl Logs {
    /// Prints lines in `format`, with the ids of the users of `clerk`.
    pub(crate) fn new(format: Format, clerk: Arc<Clerk>) -> Arc<Self> {
        Arc::new(Self { format, clerk, greeting: OnceLock::new(), state: Mutex::default() })
    }

    /// Reads the output of cargo-lambda and the functions until they end.
    pub(crate) fn follow(self: &Arc<Self>, functions: &mut Child) {
        if let Some(output) = functions.stdout.take() {
            tokio::spawn(Arc::clone(self).read_lines(output));
        }
        if let Some(errors) = functions.stderr.take() {
            tokio::spawn(Arc::clone(self).read_messages(errors));
        }
    }

    async fn read_lines(self: Arc<Self>, output: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(output).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line);
            match self.add(line.trim_end()) {
                Printed::Nothing => {}
                Printed::Greeting(started) => {
                    let logs = Arc::clone(&self);
                    tokio::spawn(async move {
                        sleep(RELOAD_PAUSE).await;
                        if logs.is_reloaded(started) {
                            logs.greeting.get().into_iter().for_each(|greeting| println!("{}", greeting.text));
                        }
                    });
                }
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

    /// Whether the reload has ended with this number of starts, and all code has compiled.
    fn is_reloaded(&self, started: u64) -> bool {
        let mut state = self.state();
        let is_reloaded = state.is_reloading && !state.has_failed && state.started == started;
        state.is_reloading &= !is_reloaded;
        is_reloaded
    }

    fn print(&self, message: &str) {
        let mut state = self.state();
        if message.contains(END_OF_ERRORS) {
            (state.has_failed, state.failed_at) = (true, now_ms());
        }
        if self.format == Format::Json || state.last_message != message {
            eprint!("{message}");
            message.clone_into(&mut state.last_message);
        }
    }

    /// Prints the greeting. Earlier lines are of the stack's own requests.
    pub(crate) fn greet(&self, text: String) {
        match self.format {
            Format::Text => println!("{text}"),
            // Programs read standard output, which has only JSON.
            Format::Json => eprintln!("{text}"),
        }
        // Only once.
        drop(self.greeting.set(Greeting { text, at: now_ms() }));
    }

    /// Keeps a line for a request that did not reach a function, and prints it.
    fn keep_rejected(&self, code: &str, method: &str, origin: Option<&str>) {
        let line = json!({
            "timestamp": Timestamp::now().to_string(), "level": "INFO", "message": "request", "function": "local stack",
            "request_id": Uuid::new_v4().to_string(), "method": method, "route": "-", "status": 403, "duration_ms": 0.0, "code": code,
            "origin": origin,
        });
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

    /// The lines of requests and batches, the newest first.
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
        let is_early = |line: &Line| self.greeting.get().is_none_or(|greeting| line.at <= greeting.at);
        let kept = line.as_ref().filter(|line| (line.is_request() || line.is_batch()) && !is_early(line));
        let kept = kept.filter(|line| !(line.is_request() && state.is_doctors(line)));
        if let Some(line) = kept {
            state.lines.push_back(line.clone());
            if state.lines.len() > KEPT {
                state.lines.pop_front();
            }
        }
        let is_json = || self.format == Format::Json;
        match &line {
            Some(_) if is_json() => Printed::Text(text.to_owned()),
            Some(line) if line.text("message") == CONFIGURED => {
                state.started += 1;
                if state.is_reloading { Printed::Greeting(state.started) } else { Printed::Nothing }
            }
            Some(line) if (line.is_request() || line.is_batch()) && kept.is_none() => Printed::Nothing,
            Some(line) => Printed::Text(readable(line, self.clerk.user_with_tag(line.text("user")).as_deref())),
            None if STOPPED.iter().any(|begin| text.starts_with(begin)) => {
                let now = now_ms();
                let is_over = |at: u64| u128::from(now.saturating_sub(at)) > RELOAD_PAUSE.as_millis();
                // Otherwise, it is a late line of the same reload.
                if is_over(state.stopped_at) && is_over(state.failed_at) {
                    state.has_failed = false;
                    state.last_message.clear();
                }
                state.stopped_at = now;
                state.is_reloading = true;
                Printed::Nothing
            }
            None if text.starts_with(PROGRESS) => Printed::Nothing,
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
            "{time}  {style}{status}{style:#}  {method:<6}  {function:<13}  {route:<20}  {duration:>9}  {user}{code}"
        )
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
                "412  GET     chats          /chats/{chat}           12.3 ms  -  version_mismatch",
                "500  GET     chats          /chats/{chat}           12.3 ms  -  internal  cause=CHATS_TABLE is not set",
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
        assert_eq!(logs.recent().len(), 1, "messages are not requests");
    }

    #[test]
    fn the_stacks_own_requests_are_neither_printed_nor_kept() {
        let (logs, _folder) = logs(Format::Text);
        assert_eq!(logs.add(&request(now_ms(), 404, json!({}))), Printed::Nothing);
        logs.greet(String::new());
        assert_eq!(logs.add(&request(now_ms() - 1000, 404, json!({}))), Printed::Nothing, "read late");
        assert!(logs.recent().is_empty());
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
            DoctorsRequest { id: Uuid::new_v4(), method, route, began_at, ended_at }
        };
        logs.state().doctors = vec![doctors(later, Some(later + 2)), doctors(later + 5, None)];
        for at in [later + 1, later + 6] {
            assert_eq!(logs.add(&request(at, 401, json!({}))), Printed::Nothing);
        }
        assert!(logs.recent().is_empty());
        logs.add(&request(later + 1, 401, json!({})));
        assert_eq!(logs.recent().len(), 1, "each has only one line");
        logs.state().doctors = vec![doctors(later, Some(later + 2))];
        logs.add(&request(later + 3, 401, json!({})));
        logs.add(&request(later + 1, 401, json!({ "method": "DELETE" })));
        assert_eq!(logs.recent().len(), 3, "it ended before, or was another");
    }

    #[test]
    fn rejected_pages_of_this_machine_are_known() {
        let (logs, _folder) = logs(Format::Text);
        drop(logs.greeting.set(Greeting { text: String::new(), at: 0 }));
        for origin in
            ["http://localhost:5173", "https://evil.example", "null", "app://localhost", "http://localhost:5173"]
        {
            logs.keep_rejected(ORIGIN_NOT_ALLOWED, "GET", Some(origin));
        }
        logs.keep_rejected("host_not_allowed", "GET", Some("http://localhost:1"));
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
    fn the_greeting_is_printed_again_once_after_a_rebuild() {
        let (logs, _folder) = logs(Format::Text);
        let configured = json!({ "timestamp": "2026-01-02T03:04:05Z", "level": "INFO", "message": "configured" });
        let configured = configured.to_string();
        assert_eq!(logs.add(&configured), Printed::Nothing);
        logs.greet("hello".to_owned());
        assert_eq!(logs.add(&configured), Printed::Nothing, "another instance has started");
        for text in [STOPPED_LINE, STOPPED_LINE, " INFO starting lambda function instance"] {
            assert_eq!(logs.add(text), Printed::Nothing);
        }
        let starts = [logs.add(&configured), logs.add(&configured)];
        assert_eq!(starts, [Printed::Greeting(3), Printed::Greeting(4)]);
        assert_eq!([logs.is_reloaded(3), logs.is_reloaded(4), logs.is_reloaded(4)], [false, true, false]);
        assert_eq!(logs.add(&configured), Printed::Nothing);

        logs.add(STOPPED_LINE);
        logs.print("error: could not compile `chats`\n");
        logs.add(STOPPED_LINE);
        assert_eq!(logs.add(&configured), Printed::Greeting(6));
        assert!(!logs.is_reloaded(6), "not all functions run");
    }

    #[test]
    fn a_repeated_compiler_message_is_noticed_until_the_next_rebuild() {
        let (logs, _folder) = logs(Format::Text);
        logs.print("error: could not compile\n");
        assert_eq!(logs.state().last_message, "error: could not compile\n");
        logs.state().stopped_at = now_ms();
        logs.add(STOPPED_LINE);
        assert_eq!(logs.state().last_message, "error: could not compile\n", "a late line of the same reload");
        logs.state().stopped_at = 0;
        logs.state().failed_at = now_ms();
        logs.add("ERROR command exited code=101");
        assert!(logs.state().has_failed, "of the code that has just not compiled");
        logs.state().stopped_at = 0;
        logs.state().failed_at = 0;
        logs.add(STOPPED_LINE);
        assert!(!logs.state().has_failed);
        assert_eq!(logs.state().last_message, "");
    }
}
