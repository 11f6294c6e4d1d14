//! The whole stack: its data, its ports, and how it starts and stops.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use axum::middleware;
use clap::Args;
use dynoxide::Database;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    api,
    clerk::{self, Clerk, Secrets},
    dashboard::{self, Dashboard},
    dynamodb, files,
    functions::{self, Functions, url_path, workspace},
    invoker::Invoker,
    logs::{self, Logs},
    next::{self, Next},
    proxy::Proxy,
    streams::Streams,
    template::Template,
    web,
    websocket::{self, Connections, Limits},
};

/// The files with secrets and personal data in the data folder.
pub(crate) fn private_files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let names = dynamodb::FILES.iter().chain(&clerk::FILES).chain([&dynamodb::CREDENTIALS]);
    names.map(|name| folder.join(name))
}

/// The ports on which the stack listens, only on this machine. For 0, the system chooses a port.
#[derive(Args, Clone, Copy)]
pub(crate) struct Ports {
    /// Port of the API and the function URL
    #[arg(long = "api-port", env = "API_PORT", default_value_t = Self::DEFAULT.api)]
    pub(crate) api: u16,
    /// Port of the development Clerk
    #[arg(long = "clerk-port", env = "CLERK_PORT", default_value_t = Self::DEFAULT.clerk)]
    pub(crate) clerk: u16,
    /// Port of the WebSocket API
    #[arg(long = "live-port", env = "LIVE_PORT", default_value_t = Self::DEFAULT.live)]
    pub(crate) live: u16,
    /// Port of DynamoDB
    #[arg(long = "dynamodb-port", env = "DYNAMODB_PORT", default_value_t = Self::DEFAULT.dynamodb)]
    pub(crate) dynamodb: u16,
    /// Port of the example application
    #[arg(long = "web-port", env = "WEB_PORT", default_value_t = Self::DEFAULT.web)]
    pub(crate) web: u16,
}

impl Ports {
    pub(crate) const DEFAULT: Self = Self { api: 9000, clerk: 4500, live: 9001, dynamodb: 8000, web: 3000 };
}

/// The options of `run`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(crate) struct Options {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) logs: logs::Format,
    /// Origins of front ends besides the example application's.
    pub(crate) origins: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) fresh: bool,
    pub(crate) reload: bool,
    /// With the functions' release build.
    pub(crate) release: bool,
    /// Without the application.
    pub(crate) api_only: bool,
    /// With the Next.js application in place of the example application.
    pub(crate) next: bool,
    pub(crate) until_stdin_closes: bool,
}

/// The default folder of the data.
pub(crate) fn default_folder() -> PathBuf {
    workspace().join(".local")
}

/// Runs the stack until it is stopped.
pub(crate) async fn run(options: Options) -> Result<()> {
    // Registered before the functions start, so that a signal does not end this program without stopping them.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_closes(), if options.until_stdin_closes => {}
        }
    };
    tokio::pin!(stop);

    let Options { mut ports, limits, ref folder, fresh, reload, release, api_only, next, .. } = options;
    let web_listener = if api_only { None } else { Some(listen(&mut ports.web, "WEB_PORT").await?) };
    let dynamodb_listener = listen(&mut ports.dynamodb, "DYNAMODB_PORT").await?;
    let clerk_listener = listen(&mut ports.clerk, "CLERK_PORT").await?;
    let api_listener = listen(&mut ports.api, "API_PORT").await?;
    let live_listener = listen(&mut ports.live, "LIVE_PORT").await?;

    let _lock = prepare(folder, fresh)?;
    let template = Template::load()?;
    let database = dynamodb::open(&folder.join(dynamodb::FILES[0]), &template)?;
    let streams = Streams::open(&database, &template)?;
    let pending = Arc::clone(&streams.pending);
    let access_key = dynamodb::access_key_or_make(folder)?;
    let webhook = template.functions.iter().find(|function| function.has_url);
    let webhook = webhook.map(|function| url_path(&function.binary)).context("no function has a URL")?;
    let api = format!("http://127.0.0.1:{}", ports.api);
    let origins = origins(ports, &options.origins);
    let clerk = Clerk::load(folder, issuer(ports), origins.clone(), format!("{api}{webhook}"))?;
    let database_url = format!("http://127.0.0.1:{}", ports.dynamodb);
    let mut environment = environment(ports, &origins, clerk.secrets(), &access_key, database_url);
    let name = if next { next::PUBLISHABLE_KEY } else { web::PUBLISHABLE_KEY };
    if let Ok(key) = std::env::var(name) {
        // Users sign in with Clerk itself, so the functions must accept its tokens.
        environment.insert("CLERK_ISSUER".to_owned(), web::issuer(name, &key)?);
    }
    environment.extend(template.functions.iter().flat_map(|function| function.tables.clone()));
    let live = format!("127.0.0.1:{}/{}", ports.live, template.websocket_api.stage);
    environment.insert("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI".to_owned(), format!("http://{live}"));
    let live = format!("ws://{live}");
    let running = Running::new(ports, &options, &webhook, &live, &environment, &template);
    let connections = Arc::<Connections>::default();
    // Where web pages cannot reach the Runtime API and its events.
    let invoke = functions::free_address().await?;
    let invoker = Invoker::to(invoke, &template)?;
    let logs = Logs::new(options.logs, Arc::clone(&clerk));
    let dashboard = Arc::new(Dashboard {
        clerk: Arc::clone(&clerk),
        database: database.clone(),
        tables: template.tables.clone(),
        connections: Arc::clone(&connections),
        logs: Arc::clone(&logs),
        functions: invoker.clone(),
        pending,
        running: running.clone(),
        folder: folder.clone(),
    });

    let (used, is_used) = watch::channel(());
    let dynamodb = dynamodb::serve_guarded(dynamodb_listener, database, access_key.clone(), used).await?;
    let issuing = clerk.serve_with(clerk_listener, dashboard::router(dashboard, ports.clerk));

    if !build(&template, release, &mut stop).await? {
        return Ok(());
    }
    let mut functions = Functions::start(invoker.clone(), &environment, folder, (reload, release), &logs)?;
    let note = middleware::from_fn_with_state(Arc::clone(&logs), logs::note);
    let router = api::router(&template, &invoker, ports.api, origins.clone()).layer(note.clone());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(api_listener, router).await });
    let websocket_api = template.websocket_api.clone();
    let router =
        websocket::router(websocket_api, invoker.clone(), limits, ports.live, origins.clone(), access_key, connections);
    serving.spawn(async move { axum::serve(live_listener, router.layer(note)).await });
    let _polling = streams.poll(&invoker, &is_used);
    let ready = async {
        let application = async {
            let server =
                if next { Some(Next::start(ports.web, &api, &live, &issuer(ports), &clerk).await?) } else { None };
            let Some(listener) = web_listener else { return Ok((None, None)) };
            let application = match &server {
                Some(server) => Proxy::to(server.address).router(),
                None => web::router(&web::build(folder, &api, &live, &clerk).await?)?,
            };
            Ok((Some(web::serve(listener, application, &clerk, origins, &logs)?), server))
        };
        let ((_application, mut server), ()) = tokio::try_join!(application, functions.ready())?;
        logs.greet(greeting(&running, invoke));
        clerk.resume();
        tokio::select! {
            status = functions.ended() => bail!("cargo-lambda has stopped ({})", status?),
            error = next::ended(server.as_mut()) => Err(error),
        }
    };
    let outcome = tokio::select! {
        outcome = ready => outcome,
        () = &mut stop => Ok(()),
    };
    logs.stop();
    functions.stop().await;
    serving.abort_all();
    issuing.abort();
    dynamodb.abort();
    outcome
}

/// Builds the functions. False if the stack was stopped in the meantime.
async fn build(template: &Template, release: bool, stop: &mut (impl Future<Output = ()> + Unpin)) -> Result<bool> {
    let mut build = functions::build(template, release)?;
    let built = tokio::select! {
        built = build.wait() => built?,
        () = stop => {
            functions::stop(build).await;
            return Ok(false);
        }
    };
    ensure!(built.success(), "the functions do not build");
    Ok(true)
}

/// What runs where, without secrets.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Running {
    /// The URL of the example application, if it runs.
    pub(crate) application: Option<String>,
    pub(crate) dashboard: String,
    pub(crate) api: String,
    pub(crate) webhook: String,
    pub(crate) live: String,
    pub(crate) clerk: String,
    pub(crate) dynamodb: String,
    /// Commands to try.
    pub(crate) commands: String,
    /// The functions' settings for Clerk, without secrets.
    pub(crate) settings: BTreeMap<String, String>,
    /// The origins of the front ends.
    pub(crate) front_ends: Vec<String>,
    /// Those among them that `WEB_ORIGINS` adds.
    pub(crate) more_origins: Vec<String>,
    /// The origins on this machine whose pages were rejected.
    pub(crate) rejected_origins: Vec<String>,
    /// A sentence for each function that does not respond.
    pub(crate) not_ready: Vec<String>,
    /// A sentence for each table whose changes no function processes.
    pub(crate) failing_streams: Vec<String>,
    /// The variables of each function, by its binary, with the name of a table, and these names.
    pub(crate) tables: BTreeMap<String, BTreeMap<String, String>>,
    /// The variables that `make run` and `cargo dev` need to use this stack, if it has not the default ports and folder.
    pub(crate) variables: String,
}

impl Running {
    /// `ports` are those that the system has chosen. `webhook` is a path.
    fn new(
        ports: Ports,
        Options { api_only, folder, origins: more, .. }: &Options,
        webhook: &str,
        live: &str,
        environment: &BTreeMap<String, String>,
        template: &Template,
    ) -> Self {
        let tables = template.functions.iter();
        let url = |port| format!("http://127.0.0.1:{port}");
        let public = ["CLERK_ISSUER", "CLERK_AUTHORIZED_PARTIES"].into_iter();
        Self {
            application: (!api_only).then(|| origin(ports)),
            dashboard: format!("http://localhost:{}", ports.clerk),
            api: url(ports.api),
            webhook: url(ports.api) + webhook,
            live: live.to_owned(),
            clerk: issuer(ports),
            dynamodb: url(ports.dynamodb),
            commands: commands(ports, folder),
            settings: public.filter_map(|name| Some((name.to_owned(), environment.get(name)?.clone()))).collect(),
            front_ends: origins(ports, more),
            more_origins: more.clone(),
            rejected_origins: Vec::new(),
            not_ready: Vec::new(),
            failing_streams: Vec::new(),
            tables: tables.map(|function| (function.binary.clone(), function.tables.clone())).collect(),
            variables: variables(ports, folder),
        }
    }

    /// The URLs with the names of the parts.
    pub(crate) fn parts(&self) -> Vec<(&'static str, &str)> {
        let application = self.application.iter().map(|url| ("open", url.as_str()));
        let others = [
            ("dashboard", &self.dashboard),
            ("API", &self.api),
            ("webhook", &self.webhook),
            ("live", &self.live),
            ("Clerk", &self.clerk),
            ("DynamoDB", &self.dynamodb),
        ];
        application.chain(others.map(|(name, url)| (name, url.as_str()))).collect()
    }
}

/// What the stack serves between a write and its WebSocket messages, for programs that run the functions themselves.
pub struct Live {
    /// The URL of DynamoDB.
    pub dynamodb: String,
    /// The host, port and stage of the WebSocket API.
    pub api: String,
    /// The delivery of records and the WebSocket API, which stop when these are dropped.
    _tasks: JoinSet<()>,
}

impl Live {
    /// Serves a database and the WebSocket API to programs with `access_key`, and delivers the streams' records. The
    /// functions are invoked at `functions`.
    pub async fn serve(
        database: Database,
        template: &Template,
        access_key: &str,
        functions: SocketAddr,
    ) -> Result<Self> {
        let websocket_api = template.websocket_api.clone();
        let (mut dynamodb_port, mut live_port) = (0, 0);
        let dynamodb_listener = listen(&mut dynamodb_port, "DYNAMODB_PORT").await?;
        let live_listener = listen(&mut live_port, "LIVE_PORT").await?;
        let api = format!("127.0.0.1:{live_port}/{}", websocket_api.stage);
        let invoker = Invoker::to(functions, template)?;
        let (used, is_used) = watch::channel(());
        let mut tasks = Streams::open(&database, template)?.poll(&invoker, &is_used);
        let dynamodb = dynamodb::serve_guarded(dynamodb_listener, database, access_key.to_owned(), used).await?;
        let access_key = access_key.to_owned();
        let connections = Arc::default();
        let router =
            websocket::router(websocket_api, invoker, Limits::AWS, live_port, Vec::new(), access_key, connections);
        tasks.spawn(async move { drop(tokio::join!(dynamodb, axum::serve(live_listener, router))) });
        Ok(Self { dynamodb: format!("http://127.0.0.1:{dynamodb_port}"), api, _tasks: tasks })
    }
}

/// The front end's origin, to which tokens are issued.
fn origin(ports: Ports) -> String {
    format!("http://localhost:{}", ports.web)
}

/// The origins that may use the stack: both of the front end's, and `more`.
pub(crate) fn origins(ports: Ports, more: &[String]) -> Vec<String> {
    [origin(ports), format!("http://127.0.0.1:{}", ports.web)].into_iter().chain(more.iter().cloned()).collect()
}

fn issuer(ports: Ports) -> String {
    format!("http://127.0.0.1:{}", ports.clerk)
}

/// The environment of every function, without the names of tables. `database` is the URL of DynamoDB.
pub(crate) fn environment(
    ports: Ports,
    origins: &[String],
    secrets: &Secrets,
    access_key: &str,
    database: String,
) -> BTreeMap<String, String> {
    [
        ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", database),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", dynamodb::SECRET_ACCESS_KEY.to_owned()),
        ("CLERK_AUTHORIZED_PARTIES", origins.join(",")),
        ("CLERK_ISSUER", issuer(ports)),
        ("CLERK_WEBHOOK_SIGNING_SECRET", secrets.webhook_secret.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Listens on a port. Sets 0 to the port that the system has chosen.
async fn listen(port: &mut u16, variable: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", *port)).await;
    let listener = listener.with_context(|| format!("port {port} is not available. Set {variable} to another"))?;
    *port = listener.local_addr()?.port();
    Ok(listener)
}

async fn stdin_closes() {
    let (closed, is_closed) = oneshot::channel::<()>();
    // A separate thread: the runtime waits for its own threads before it ends, and a read ends only with the input.
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        // An error is the same as an end: the other side is closed.
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(closed);
    });
    drop(is_closed.await);
}

/// Makes the data private, and empty if it is to be. No other stack can use it while the file is open.
fn prepare(folder: &Path, fresh: bool) -> Result<File> {
    files::folder(folder)?;
    let lock = lock(folder)?;
    if fresh {
        empty(folder)?;
    }
    for file in private_files(folder) {
        files::file_if_present(&file)?;
    }
    Ok(lock)
}

/// Prevents a second stack from using the data while the file is open.
fn lock(folder: &Path) -> Result<File> {
    let file = File::create(folder.join("lock")).context("the data folder cannot be written to")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another local stack uses {}. Stop it, or set LOCAL_DATA to another folder", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).context("the data folder cannot be locked"),
    }
}

/// Deletes the stack's files, and no others in the folder.
fn empty(folder: &Path) -> Result<()> {
    for file in private_files(folder) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be deleted", file.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The variables of ports and of a folder that are not the default ones, each with a space after it.
pub(crate) fn variables(ports: Ports, folder: &Path) -> String {
    let Ports { api, clerk, live, dynamodb, web } = ports;
    let default = Ports::DEFAULT;
    let ports = [
        ("API_PORT", api, default.api),
        ("CLERK_PORT", clerk, default.clerk),
        ("LIVE_PORT", live, default.live),
        ("DYNAMODB_PORT", dynamodb, default.dynamodb),
        ("WEB_PORT", web, default.web),
    ];
    let ports = ports.into_iter().filter(|(_, port, default)| port != default);
    let ports = ports.map(|(name, port, _)| format!("{name}={port} "));
    let folder = Some(folder).filter(|folder| **folder != default_folder());
    ports.chain(folder.map(|folder| format!("LOCAL_DATA={} ", quoted(folder)))).collect()
}

/// A path as an argument of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Commands to try, which find this stack.
fn commands(ports: Ports, folder: &Path) -> String {
    let Ports { api, clerk, dynamodb, .. } = ports;
    // The first two commands need only Clerk's port and the folder.
    let set = variables(Ports { clerk, ..Ports::DEFAULT }, folder);
    let credentials = folder.join(dynamodb::CREDENTIALS);
    let credentials = quoted(&credentials);
    format!(
        "\
{set}cargo dev user create --id user_ada --email ada@example.com --first-name Ada
TOKEN=$({set}cargo dev token --user user_ada)
curl -s http://127.0.0.1:{api}/profile -H \"Authorization: Bearer $TOKEN\"
AWS_SHARED_CREDENTIALS_FILE={credentials} aws dynamodb list-tables --region us-east-1 --endpoint-url http://127.0.0.1:{dynamodb}"
    )
}

fn greeting(running: &Running, invoke: SocketAddr) -> String {
    let parts: Vec<_> = running.parts().into_iter().map(|(name, url)| format!("  {name:<9} {url}")).collect();
    let parts = parts.join("\n");
    let commands = running.commands.replace('\n', "\n  ");
    format!(
        "
{parts}
  Invoke    http://{invoke}/2015-03-31/functions/NAME/invocations

Try, in another terminal:

  {commands}

ready
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unusual_places_are_named() {
        assert_eq!(variables(Ports::DEFAULT, &default_folder()), "");
        let ports = Ports { clerk: 4501, web: 3001, ..Ports::DEFAULT };
        let folder = Path::new("/tmp/it's mine");
        let expected = r"CLERK_PORT=4501 WEB_PORT=3001 LOCAL_DATA='/tmp/it'\''s mine' ";
        assert_eq!(variables(ports, folder), expected);
    }
}
