//! The stack as a whole: its data, its ports, its start and its end.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    clerk::{self, Clerk, Secrets},
    cli::Ports,
    dynamodb,
    functions::{self, Functions, url_path, workspace},
    template::Template,
    web,
};

/// The engine's file in the data folder; SQLite makes two more beside it.
const DATABASE: [&str; 3] = ["dynamodb.sqlite", "dynamodb.sqlite-shm", "dynamodb.sqlite-wal"];

/// How to start.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(crate) struct Options {
    pub(crate) ports: Ports,
    pub(crate) folder: PathBuf,
    pub(crate) fresh: bool,
    pub(crate) reload: bool,
    /// Without the application.
    pub(crate) api_only: bool,
    pub(crate) until_stdin_closes: bool,
}

/// Where the data is kept if nothing else is asked for.
pub(crate) fn default_folder() -> PathBuf {
    workspace().join(".local")
}

/// Runs the stack until it is told to stop.
pub(crate) async fn run(options: Options) -> Result<()> {
    // Registered first, so that no signal ends this program while functions run.
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

    let Options { ports, folder, fresh, reload, api_only, .. } = &options;
    let web_listener = if *api_only { None } else { Some(listen(ports.web, "WEB_PORT").await?) };
    let dynamodb_listener = listen(ports.dynamodb, "DYNAMODB_PORT").await?;
    let clerk_listener = listen(ports.clerk, "CLERK_PORT").await?;
    // cargo-lambda listens here itself, later; a port that is taken is better known now.
    drop(listen(ports.api, "API_PORT").await?);

    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let _lock = lock(folder)?;
    if *fresh {
        empty(folder)?;
    }
    let template = Template::load()?;
    let database = dynamodb::open(&folder.join(DATABASE[0]), &template)?;
    let webhook = template.functions.iter().find(|function| function.has_url);
    let webhook = webhook.map(|function| url_path(&function.binary)).context("no function has a URL")?;
    let api = format!("http://127.0.0.1:{}", ports.api);
    let clerk = Clerk::load(folder, issuer(*ports), origin(*ports), format!("{api}{webhook}"))?;
    let database_url = format!("http://127.0.0.1:{}", ports.dynamodb);
    let mut environment = environment(*ports, clerk.secrets(), database_url);
    if let Ok(key) = std::env::var(web::PUBLISHABLE_KEY) {
        // People sign in with the real Clerk, whose tokens the functions have to expect.
        environment.insert("CLERK_ISSUER".to_owned(), web::issuer(&key)?);
    }
    environment.extend(template.functions.iter().flat_map(|function| function.tables.clone()));

    let dynamodb = dynamodb::serve(dynamodb_listener, database);
    let issuing = clerk.serve(clerk_listener);

    let mut build = functions::build(&template)?;
    let built = tokio::select! {
        built = build.wait() => built?,
        () = &mut stop => {
            functions::stop(build).await;
            return Ok(());
        }
    };
    if !built.success() {
        bail!("the functions do not build");
    }
    let mut functions = Functions::start(&template, ports.api, &environment, folder, *reload)?;
    let ready = async {
        let application = async {
            match web_listener {
                Some(listener) => Ok(Some(web::serve(listener, &web::build(folder, &api).await?, &clerk)?)),
                None => Ok(None),
            }
        };
        let (_application, ()) = tokio::try_join!(application, functions.ready(&template))?;
        clerk.resume();
        greet(*ports, &webhook, *api_only);
        let status = functions.ended().await?;
        bail!("cargo-lambda has stopped ({status})")
    };
    let outcome = tokio::select! {
        outcome = ready => outcome,
        () = &mut stop => Ok(()),
    };
    functions.stop().await;
    issuing.abort();
    dynamodb.abort();
    outcome
}

/// Where the front end is, which is what tokens are issued to.
fn origin(ports: Ports) -> String {
    format!("http://localhost:{}", ports.web)
}

fn issuer(ports: Ports) -> String {
    format!("http://127.0.0.1:{}", ports.clerk)
}

/// What every function finds in its environment, beside the names of tables. `database` is the URL of DynamoDB.
pub(crate) fn environment(ports: Ports, secrets: &Secrets, database: String) -> BTreeMap<String, String> {
    [
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", database),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("CLERK_AUTHORIZED_PARTIES", origin(ports)),
        ("CLERK_ISSUER", issuer(ports)),
        ("CLERK_WEBHOOK_SIGNING_SECRET", secrets.webhook_secret.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn listen(port: u16, variable: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.with_context(|| format!("port {port} cannot be had; set {variable} to another"))
}

async fn stdin_closes() {
    let (closed, is_closed) = oneshot::channel::<()>();
    // A thread of its own: the runtime would wait for one of its own before it ends, and a read ends with the input.
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        // An error is as good as an end: whoever held the other side is gone.
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        drop(closed);
    });
    drop(is_closed.await);
}

/// Keeps a second stack away from the data for as long as the file is open.
fn lock(folder: &Path) -> Result<File> {
    let file = File::create(folder.join("lock")).context("the data folder cannot be written to")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another local stack uses {}; stop it, or set LOCAL_DATA to another folder", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).context("the data folder cannot be locked"),
    }
}

/// Deletes what the stack keeps in its folder, and nothing else that may be there.
fn empty(folder: &Path) -> Result<()> {
    for name in DATABASE.iter().chain(&clerk::FILES) {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{name} cannot be deleted"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn greet(ports: Ports, webhook: &str, api_only: bool) {
    let Ports { api, clerk, dynamodb, .. } = ports;
    let application = if api_only { String::new() } else { format!("  open      {}\n", origin(ports)) };
    // A command reaches the stack by Clerk's port.
    let set = if clerk == Ports::CLERK { String::new() } else { format!("CLERK_PORT={clerk} ") };
    println!(
        "
ready

{application}  API       http://127.0.0.1:{api}
  webhook   http://127.0.0.1:{api}{webhook}
  Clerk     http://127.0.0.1:{clerk}
  DynamoDB  http://127.0.0.1:{dynamodb}

Try, in another terminal:

  {set}cargo run -q -p local -- user create --id user_ada --email ada@example.com --first-name Ada
  TOKEN=$({set}cargo run -q -p local -- token --user user_ada)
  curl -s http://127.0.0.1:{api}/profile -H \"Authorization: Bearer $TOKEN\"
"
    );
}
