//! The commands: `run` starts the stack, the others do what users and Clerk's dashboard do on AWS.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::{
    clerk::{Secrets, WEBHOOKS_HEADER},
    docker, doctor, dynamodb, files,
    functions::{url_path, workspace},
    logs,
    reconcile::{Defaults, Reconcile},
    samples::{self, Sample},
    scaffold::NewResource,
    stack::{self, Options, Ports},
    template::Template,
    websocket::Limits,
};

/// The local stack: DynamoDB, a development Clerk and the functions on one machine.
#[derive(Parser)]
#[command(name = "local", bin_name = "cargo dev", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The options of commands that configure the stack.
#[derive(Args)]
struct Settings {
    #[command(flatten)]
    ports: Ports,
    /// Origins of front ends that may use the stack, besides the example application, comma-separated
    #[arg(long, env = "WEB_ORIGINS", value_delimiter = ',', value_parser = origin)]
    origins: Vec<String>,
    #[command(flatten)]
    data: Data,
}

/// The options of commands that use the development Clerk.
#[derive(Args)]
struct Instance {
    /// Port of the development Clerk
    #[arg(long, env = "CLERK_PORT", default_value_t = Ports::DEFAULT.clerk, global = true)]
    clerk_port: u16,
    #[command(flatten)]
    data: Data,
}

#[derive(Args)]
struct Data {
    /// Folder of the stack's data [default: .local in the project]
    #[arg(long = "data", env = "LOCAL_DATA", global = true)]
    folder: Option<PathBuf>,
}

impl Data {
    fn folder(self) -> PathBuf {
        self.folder.unwrap_or_else(stack::default_folder)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack; Ctrl-C stops it
    Run {
        #[command(flatten)]
        settings: Settings,
        /// Delete all data first
        #[arg(long)]
        fresh: bool,
        /// Do not rebuild and reload code that is edited
        #[arg(long)]
        no_reload: bool,
        /// Run the functions' release build, as on AWS; its compilation takes minutes
        #[arg(long)]
        release: bool,
        /// Start without the example application
        #[arg(long)]
        api_only: bool,
        /// Serve the Next.js application in place of the example application
        #[arg(long, conflicts_with = "api_only")]
        next: bool,
        /// Also stop when standard input is closed, which happens when the parent process ends
        #[arg(long)]
        until_stdin_closes: bool,
        /// How to print the functions' log lines
        #[arg(long, env = "LOGS", value_enum, default_value_t)]
        logs: logs::Format,
        #[command(flatten)]
        limits: Limits,
    },
    /// Create, update, delete, ban and unban users
    User {
        #[command(flatten)]
        instance: Instance,
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Sign a user in and print the session's id
    SignIn {
        #[command(flatten)]
        instance: Instance,
        /// The user's id
        #[arg(long)]
        user: String,
    },
    /// End a session
    SignOut {
        #[command(flatten)]
        instance: Instance,
        /// The session's id, as printed by sign-in
        #[arg(long)]
        session: String,
    },
    /// Print a fresh session token, which is valid for a minute; signs the user in if necessary
    Token {
        #[command(flatten)]
        instance: Instance,
        /// The user's id
        #[arg(long)]
        user: String,
        /// The id of an organization that the user is a member of; it becomes the session's active one
        #[arg(long)]
        organization: Option<String>,
    },
    /// Create organizations and add members
    Organization {
        #[command(flatten)]
        instance: Instance,
        #[command(subcommand)]
        command: OrganizationCommand,
    },
    /// Set the custom permissions of a role in organizations
    Role {
        #[command(flatten)]
        instance: Instance,
        /// The role, such as org:admin
        #[arg(long)]
        key: String,
        /// All its custom permissions, comma-separated, such as org:notes:unpin
        #[arg(long, value_delimiter = ',')]
        permissions: Vec<String>,
    },
    /// Print the signing secret of the webhooks, to send your own
    WebhookSecret {
        #[command(flatten)]
        data: Data,
    },
    /// Print a sample event of a function, with the current time and valid signatures; signs its user up if necessary
    Event {
        #[command(flatten)]
        instance: Instance,
        #[command(flatten)]
        sample: Sample,
    },
    /// Run a function in Docker on a sample event, with `sam local invoke`
    Invoke {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        sample: Sample,
        /// Options of `sam local invoke`, such as --skip-pull-image
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Serve the API with functions in Docker, with `sam local start-api`
    StartApi {
        #[command(flatten)]
        settings: Settings,
        /// Port of the API in Docker
        #[arg(long, default_value_t = 3001)]
        port: u16,
        /// Options of `sam local start-api`, such as --skip-pull-image
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Check the running local stack; the exit status is 1 if a check fails
    Doctor {
        #[command(flatten)]
        instance: Instance,
        /// Origin of a front end of your own
        #[arg(long, value_parser = origin)]
        origin: Vec<String>,
        /// A session token to verify step by step
        #[arg(long)]
        token: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a resource to the project; use `make resource`, which also generates the OpenAPI document
    Resource(NewResource),
    /// Repair profiles whose webhooks were missed, in the local stack or, with Clerk's secret key, on AWS
    Reconcile {
        #[command(flatten)]
        instance: Instance,
        /// Port of the API and the function URL
        #[arg(long, env = "API_PORT", default_value_t = Ports::DEFAULT.api)]
        api_port: u16,
        #[command(flatten)]
        reconcile: Reconcile,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Create a user
    Create {
        /// The new user's id
        #[arg(long)]
        id: String,
        /// The primary email address
        #[arg(long)]
        email: String,
        #[command(flatten)]
        details: Details,
    },
    /// Update a user; omitted details stay as they are
    Update {
        /// The user's id
        #[arg(long)]
        id: String,
        /// The primary email address
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        details: Details,
    },
    /// Delete a user
    Delete {
        /// The user's id
        #[arg(long)]
        id: String,
    },
    /// Ban a user
    Ban {
        /// The user's id
        #[arg(long)]
        id: String,
    },
    /// Unban a user
    Unban {
        /// The user's id
        #[arg(long)]
        id: String,
    },
}

#[derive(Subcommand)]
enum OrganizationCommand {
    /// Create an organization and print its id
    Create {
        #[arg(long)]
        name: String,
        /// The id of the user that becomes its admin
        #[arg(long)]
        user: String,
    },
    /// Add a user to an organization
    Add {
        /// The organization's id
        #[arg(long)]
        id: String,
        /// The user's id
        #[arg(long)]
        user: String,
        /// The user's role
        #[arg(long, default_value = "org:member")]
        role: String,
    },
}

#[derive(Args)]
struct Details {
    /// First name
    #[arg(long)]
    first_name: Option<String>,
    /// Last name
    #[arg(long)]
    last_name: Option<String>,
    /// URL of the picture
    #[arg(long)]
    image_url: Option<String>,
}

impl Details {
    fn body(self, id: Option<&str>, email: Option<String>) -> Value {
        let Self { first_name, last_name, image_url } = self;
        let email_address = email.map(|email| vec![email]);
        json!({ "id": id, "email_address": email_address, "first_name": first_name, "last_name": last_name, "image_url": image_url })
    }
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Result<()> {
        match self.command {
            Command::Run { settings, fresh, no_reload, release, api_only, next, until_stdin_closes, logs, limits } => {
                let Settings { ports, origins, data } = settings;
                let (folder, reload) = (data.folder(), !no_reload);
                let options = Options {
                    ports,
                    limits,
                    logs,
                    origins,
                    folder,
                    fresh,
                    reload,
                    release,
                    api_only,
                    next,
                    until_stdin_closes,
                };
                stack::run(options).await
            }
            Command::User { instance, command } => Backend::of(instance)?.user(command).await,
            Command::SignIn { instance, user } => {
                println!("{}", Backend::of(instance)?.sign_in(&user, None).await?);
                Ok(())
            }
            Command::SignOut { instance, session } => {
                let path = format!("/v1/sessions/{session}/end");
                Backend::of(instance)?.change(Method::POST, &path, None).await.map(drop)
            }
            Command::Token { instance, user, organization } => {
                println!("{}", Backend::of(instance)?.token(&user, organization.as_deref()).await?);
                Ok(())
            }
            Command::Organization { instance, command } => Backend::of(instance)?.organization(command).await,
            Command::Role { instance, key, permissions } => {
                let body = json!({ "roles": { key: permissions } });
                let backend = Backend::of(instance)?;
                backend.send(backend.http.patch(backend.url("/v1/instance")).json(&body)).await.map(drop)
            }
            Command::WebhookSecret { data } => {
                println!("{}", secrets(&data.folder())?.webhook_secret);
                Ok(())
            }
            Command::Event { instance, sample } => {
                println!("{:#}", Backend::of(instance)?.event(&sample).await?);
                Ok(())
            }
            Command::Invoke { settings, sample, options } => {
                let name = sample.function_id()?;
                let Settings { ports, origins, data } = settings;
                let folder = data.folder();
                let backend = Backend::new(ports.clerk, secrets(&folder)?)?;
                let event = backend.event(&sample).await?.to_string();
                let arguments = ["invoke".to_owned(), name].into_iter().chain(options).collect::<Vec<_>>();
                in_docker(&arguments, Some(event), ports, &origins, &folder, &backend.secrets).await
            }
            Command::StartApi { settings, port, options } => {
                let Settings { ports, origins, data } = settings;
                let folder = data.folder();
                let secrets = secrets(&folder)?;
                let served = docker::serve_api(port, stack::origins(ports, &origins)).await?;
                let arguments: Vec<_> =
                    ["start-api".to_owned()].into_iter().chain(served.options).chain(options).collect();
                println!("the API with functions in Docker is at {}", served.url);
                in_docker(&arguments, None, ports, &origins, &folder, &secrets).await
            }
            Command::Doctor { instance: Instance { clerk_port, data }, origin, token, json } => {
                doctor::report_running(clerk_port, &data.folder(), origin, token.as_deref(), json).await
            }
            Command::Resource(resource) => resource.write(&workspace()),
            Command::Reconcile { instance, api_port, reconcile } => {
                let folder = instance.data.folder();
                let secrets = Secrets::load(&folder)?;
                let (secret_key, signing_secret) =
                    secrets.map(|secrets| (secrets.secret_key, secrets.webhook_secret)).unzip();
                let defaults = Defaults {
                    api: format!("http://127.0.0.1:{}", instance.clerk_port),
                    webhook: format!("http://127.0.0.1:{api_port}{}", url_path("clerk-webhook")),
                    secret_key,
                    signing_secret,
                    progress: folder.join("reconcile-progress"),
                };
                files::folder(&folder)?;
                reconcile.run(defaults).await
            }
        }
    }
}

/// The secrets of the local stack whose data is in `folder`.
fn secrets(folder: &Path) -> Result<Secrets> {
    Secrets::load(folder)?.context("the local stack has never run. Start it with `make run`")
}

/// Accepts an origin only as browsers send it.
pub fn origin(text: &str) -> Result<String> {
    let is_origin = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.origin().ascii_serialization() == text;
    let is_valid = Url::parse(text).is_ok_and(|url| is_origin(&url));
    ensure!(is_valid, "write it as browsers do, such as http://localhost:5173");
    Ok(text.to_owned())
}

async fn in_docker(
    arguments: &[String],
    event: Option<String>,
    ports: Ports,
    origins: &[String],
    folder: &Path,
    secrets: &Secrets,
) -> Result<()> {
    // Containers cannot reach the development Clerk to fetch its keys.
    let key = secrets.public_key_pem()?;
    let access_key =
        dynamodb::access_key(folder)?.context("the local stack has never run. Start it with `make run`")?;
    let origins = stack::origins(ports, origins);
    let template = Template::load()?;
    let environment = |url: String| {
        let connections = format!("{url}/{}", template.websocket_api.stage);
        let mut environment = stack::environment(ports, &origins, secrets, &access_key, url);
        environment.insert("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI".to_owned(), connections);
        environment.extend(template.functions.into_iter().flat_map(|function| function.tables));
        environment.insert("CLERK_JWT_KEY".to_owned(), key);
        environment
    };
    docker::sam_local(arguments, event, ports, environment).await
}

/// A client of the development Clerk's Backend API.
struct Backend {
    port: u16,
    secrets: Secrets,
    http: reqwest::Client,
}

impl Backend {
    fn new(port: u16, secrets: Secrets) -> Result<Self> {
        Ok(Self { port, secrets, http: reqwest::Client::builder().no_proxy().build()? })
    }

    fn of(Instance { clerk_port, data }: Instance) -> Result<Self> {
        Self::new(clerk_port, secrets(&data.folder())?)
    }

    async fn user(&self, command: UserCommand) -> Result<()> {
        let (method, path, body) = match command {
            UserCommand::Create { id, email, details } => {
                (Method::POST, "/v1/users".to_owned(), Some(details.body(Some(&id), Some(email))))
            }
            UserCommand::Update { id, email, details } => {
                (Method::PATCH, format!("/v1/users/{id}"), Some(details.body(None, email)))
            }
            UserCommand::Delete { id } => (Method::DELETE, format!("/v1/users/{id}"), None),
            UserCommand::Ban { id } => (Method::POST, format!("/v1/users/{id}/ban"), None),
            UserCommand::Unban { id } => (Method::POST, format!("/v1/users/{id}/unban"), None),
        };
        self.change(method, &path, body).await.map(drop)
    }

    async fn organization(&self, command: OrganizationCommand) -> Result<()> {
        match command {
            OrganizationCommand::Create { name, user } => {
                let body = json!({ "name": name, "created_by": user });
                let organization = self.change(Method::POST, "/v1/organizations", Some(body)).await?;
                println!("{}", text(&organization, "id")?);
            }
            OrganizationCommand::Add { id, user, role } => {
                let path = format!("/v1/organizations/{id}/memberships");
                self.change(Method::POST, &path, Some(json!({ "user_id": user, "role": role }))).await?;
            }
        }
        Ok(())
    }

    async fn sign_in(&self, user_id: &str, organization: Option<&str>) -> Result<String> {
        let body = json!({ "user_id": user_id, "active_organization_id": organization });
        let session = self.change(Method::POST, "/v1/sessions", Some(body)).await?;
        Ok(text(&session, "id")?.to_owned())
    }

    /// A sample event with a token. Signs the sample's user up if necessary.
    async fn event(&self, sample: &Sample) -> Result<Value> {
        let sample = sample.read()?;
        let mut token = String::new();
        if sample.contains(samples::TOKEN) {
            let known = self.request(self.http.get(self.url(&format!("/v1/users/{}", samples::USER)))).await?;
            if known.status() == StatusCode::NOT_FOUND {
                let body = json!({ "id": samples::USER, "email_address": ["ada@example.com"], "first_name": "Ada" });
                self.change(Method::POST, "/v1/users", Some(body)).await?;
                eprintln!("signed up {}, the user of the samples", samples::USER);
            }
            token = self.token(samples::USER, None).await?;
        }
        samples::fill(&sample, &token, &self.secrets.webhook_secret)
    }

    /// A token of an active session with this active organization.
    async fn token(&self, user_id: &str, organization: Option<&str>) -> Result<String> {
        let request = self.http.get(self.url("/v1/sessions")).query(&[("user_id", user_id)]);
        let sessions: Value = self.send(request).await?.json().await?;
        let sessions = sessions.as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted = |session: &&Value| {
            let member = |name| session.get(name).and_then(Value::as_str);
            member("status") == Some("active") && member("last_active_organization_id") == organization
        };
        let session = match sessions.iter().find(wanted) {
            Some(session) => text(session, "id")?.to_owned(),
            None => self.sign_in(user_id, organization).await?,
        };
        let request = self.http.post(self.url(&format!("/v1/sessions/{session}/tokens")));
        let token: Value = self.send(request).await?.json().await?;
        Ok(text(&token, "jwt")?.to_owned())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Clerk's response, of any status.
    async fn request(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        match request.bearer_auth(&self.secrets.secret_key).send().await {
            Err(error) if error.is_connect() => bail!(
                "the local stack is not running on port {}. Start it with `make run`, or set CLERK_PORT",
                self.port
            ),
            response => Ok(response?),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let response = self.request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        match body.pointer("/errors/0/message").and_then(Value::as_str) {
            Some(message) => bail!("{message}"),
            None => bail!("Clerk returned {status}"),
        }
    }

    /// Makes a change and prints whether its webhooks were delivered.
    async fn change(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.send(request).await?;
        let ids = response.headers().get(WEBHOOKS_HEADER).and_then(|ids| ids.to_str().ok()).unwrap_or_default();
        let ids: Vec<String> = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let body = response.json().await?;
        for id in ids {
            let delivery = self.send(self.http.get(self.url(&format!("/v1/webhooks/{id}")))).await?;
            let delivery: Value = delivery.json().await?;
            let (kind, last) = (text(&delivery, "kind")?, text(&delivery, "last")?);
            let last = if last.is_empty() { "no response yet" } else { last };
            if delivery.get("delivered") == Some(&Value::Bool(true)) {
                eprintln!("{kind} delivered");
            } else {
                eprintln!("{kind} not delivered yet ({last}). It will be retried");
            }
        }
        Ok(body)
    }
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value.get(member).and_then(Value::as_str).with_context(|| format!("Clerk's response has no {member}"))
}
