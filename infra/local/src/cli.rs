//! The commands: `run` starts the stack, the others do to it what people and Clerk's dashboard do to the real one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::{
    clerk::{Secrets, WEBHOOKS_HEADER},
    docker, dynamodb, files,
    functions::{url_path, workspace},
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
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Place {
    #[command(flatten)]
    ports: Ports,
    /// Origins of front ends that may use the stack, besides the example application, comma-separated
    #[arg(long, env = "WEB_ORIGINS", global = true, value_delimiter = ',', value_parser = origin)]
    origins: Vec<String>,
    /// Where the stack keeps its data [default: .local in the project]
    #[arg(long, env = "LOCAL_DATA", global = true)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack; Ctrl-C stops it
    Run {
        /// Forget all data first
        #[arg(long)]
        fresh: bool,
        /// Do not build and load code again when it is edited
        #[arg(long)]
        no_reload: bool,
        /// Leave the example application out
        #[arg(long)]
        api_only: bool,
        /// Stop as well when standard input is closed, as it is when the program that started this ends
        #[arg(long)]
        until_stdin_closes: bool,
        #[command(flatten)]
        limits: Limits,
    },
    /// Sign up, change and delete people
    #[command(subcommand)]
    User(UserCommand),
    /// Sign somebody in: prints the session's id
    SignIn {
        /// Whom, by id
        #[arg(long)]
        user: String,
    },
    /// End a session
    SignOut {
        /// The session's id, as sign-in printed it
        #[arg(long)]
        session: String,
    },
    /// Print a fresh session token, which is good for a minute; signs in first if need be
    Token {
        /// Whose, by id
        #[arg(long)]
        user: String,
    },
    /// Print the signing secret of the webhooks, to send some of your own
    WebhookSecret,
    /// Print a sample event of a function, dated now and signed, so that it succeeds
    Event {
        #[command(flatten)]
        sample: Sample,
    },
    /// Run a function in Docker on a sample event, with `sam local invoke`
    Invoke {
        #[command(flatten)]
        sample: Sample,
        /// Options of `sam local invoke`, such as --skip-pull-image
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Serve the API from Docker, with `sam local start-api`
    StartApi {
        /// Port of the API
        #[arg(long, default_value_t = 3001)]
        port: u16,
        /// Options of `sam local start-api`, such as --skip-pull-image
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Add a resource to the project: `make resource` runs this, and writes what follows from it
    Resource(NewResource),
    /// Repair profiles that webhooks missed, here or, with Clerk's secret key, on AWS
    Reconcile(Reconcile),
}

#[derive(Subcommand)]
enum UserCommand {
    /// Sign somebody up
    Create {
        /// The id to give them
        #[arg(long)]
        id: String,
        /// Their primary address
        #[arg(long)]
        email: String,
        #[command(flatten)]
        details: Details,
    },
    /// Change somebody's details; what is left away stays
    Update {
        /// Whose, by id
        #[arg(long)]
        id: String,
        /// Their primary address
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        details: Details,
    },
    /// Delete somebody
    Delete {
        /// Whom, by id
        #[arg(long)]
        id: String,
    },
    /// Ban somebody
    Ban {
        /// Whom, by id
        #[arg(long)]
        id: String,
    },
    /// Let somebody back in
    Unban {
        /// Whom, by id
        #[arg(long)]
        id: String,
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
    /// Where their picture is
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
    /// Does what was asked for.
    pub async fn run(self) -> Result<()> {
        let folder = self.place.data.clone().unwrap_or_else(stack::default_folder);
        let Place { ports, origins, .. } = self.place;
        if let Command::Run { fresh, no_reload, api_only, until_stdin_closes, limits } = self.command {
            let reload = !no_reload;
            let options = Options { ports, limits, origins, folder, fresh, reload, api_only, until_stdin_closes };
            return stack::run(options).await;
        }
        let secrets = Secrets::load(&folder)?;
        if let Command::Resource(resource) = self.command {
            return resource.write(&workspace());
        }
        if let Command::Reconcile(reconcile) = self.command {
            let (secret_key, signing_secret) =
                secrets.map(|secrets| (secrets.secret_key, secrets.webhook_secret)).unzip();
            let defaults = Defaults {
                api: format!("http://127.0.0.1:{}", ports.clerk),
                webhook: format!("http://127.0.0.1:{}{}", ports.api, url_path("clerk-webhook")),
                secret_key,
                signing_secret,
                progress: folder.join("reconcile-progress"),
            };
            files::folder(&folder)?;
            return reconcile.run(defaults).await;
        }
        let secrets = secrets.context("the local stack has never run; start it with `make run`")?;
        let clerk = Backend {
            port: ports.clerk,
            secret_key: secrets.secret_key.clone(),
            http: reqwest::Client::builder().no_proxy().build()?,
        };
        match self.command {
            Command::Run { .. } | Command::Reconcile(_) | Command::Resource(_) => Ok(()),
            Command::WebhookSecret => {
                println!("{}", secrets.webhook_secret);
                Ok(())
            }
            Command::User(command) => clerk.user(command).await,
            Command::SignIn { user } => {
                println!("{}", clerk.sign_in(&user).await?);
                Ok(())
            }
            Command::SignOut { session } => {
                clerk.change(Method::POST, &format!("/v1/sessions/{session}/end"), None).await.map(drop)
            }
            Command::Token { user } => {
                println!("{}", clerk.token(&user).await?);
                Ok(())
            }
            Command::Event { sample } => {
                println!("{:#}", clerk.event(&sample, &secrets).await?);
                Ok(())
            }
            Command::Invoke { sample, options } => {
                let name = sample.function_id()?;
                let event = clerk.event(&sample, &secrets).await?.to_string();
                let arguments = ["invoke".to_owned(), name].into_iter().chain(options).collect::<Vec<_>>();
                in_docker(&arguments, Some(event), ports, &origins, &folder, &secrets).await
            }
            Command::StartApi { port, options } => {
                let served = docker::serve_api(port, stack::origins(ports, &origins)).await?;
                let arguments: Vec<_> =
                    ["start-api".to_owned()].into_iter().chain(served.options).chain(options).collect();
                println!("the functions in Docker are served at {}", served.url);
                in_docker(&arguments, None, ports, &origins, &folder, &secrets).await
            }
        }
    }
}

/// An origin as browsers write it.
fn origin(text: &str) -> Result<String> {
    let serialized = Url::parse(text).map(|url| url.origin().ascii_serialization());
    ensure!(serialized.is_ok_and(|origin| origin == text), "write it as browsers do, such as http://localhost:5173");
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
    // A container does not reach Clerk for its keys.
    let key = secrets.public_key_pem()?;
    let access_key =
        dynamodb::access_key(folder)?.context("the local stack has never run; start it with `make run`")?;
    let origins = stack::origins(ports, origins);
    let template = Template::load()?;
    let environment = |database| {
        let mut environment = stack::environment(ports, &origins, secrets, &access_key, database);
        environment.extend(template.functions.into_iter().flat_map(|function| function.tables));
        environment.insert("CLERK_JWT_KEY".to_owned(), key);
        environment
    };
    docker::sam_local(arguments, event, ports.dynamodb, environment).await
}

/// The running Clerk's Backend API.
struct Backend {
    port: u16,
    secret_key: String,
    http: reqwest::Client,
}

impl Backend {
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

    async fn sign_in(&self, user_id: &str) -> Result<String> {
        let session = self.change(Method::POST, "/v1/sessions", Some(json!({ "user_id": user_id }))).await?;
        Ok(text(&session, "id")?.to_owned())
    }

    /// A sample event, filled in. Signs its user up if need be.
    async fn event(&self, sample: &Sample, secrets: &Secrets) -> Result<Value> {
        let sample = sample.read()?;
        let mut token = String::new();
        if sample.contains(samples::TOKEN) {
            let known = self.ask(self.http.get(self.url(&format!("/v1/users/{}", samples::USER)))).await?;
            if known.status() == StatusCode::NOT_FOUND {
                let body = json!({ "id": samples::USER, "email_address": ["ada@example.com"], "first_name": "Ada" });
                self.change(Method::POST, "/v1/users", Some(body)).await?;
            }
            token = self.token(samples::USER).await?;
        }
        samples::fill(&sample, &token, &secrets.webhook_secret)
    }

    async fn token(&self, user_id: &str) -> Result<String> {
        let request = self.http.get(self.url("/v1/sessions")).query(&[("user_id", user_id)]);
        let sessions: Value = self.send(request).await?.json().await?;
        let sessions = sessions.as_array().map(Vec::as_slice).unwrap_or_default();
        let session =
            match sessions.iter().find(|session| session.get("status").is_some_and(|status| status == "active")) {
                Some(session) => text(session, "id")?.to_owned(),
                None => self.sign_in(user_id).await?,
            };
        let request = self.http.post(self.url(&format!("/v1/sessions/{session}/tokens")));
        let token: Value = self.send(request).await?.json().await?;
        Ok(text(&token, "jwt")?.to_owned())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What Clerk answers, be it a refusal.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        match request.bearer_auth(&self.secret_key).send().await {
            Err(error) if error.is_connect() => bail!(
                "the local stack is not running on port {}; start it with `make run`, or set CLERK_PORT",
                self.port
            ),
            response => Ok(response?),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response> {
        let response = self.ask(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        match answer.pointer("/errors/0/message").and_then(Value::as_str) {
            Some(message) => bail!("{message}"),
            None => bail!("Clerk answered {status}"),
        }
    }

    /// Makes a change and says what became of the webhooks that announce it.
    async fn change(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = self.send(request).await?;
        let ids = response.headers().get(WEBHOOKS_HEADER).and_then(|ids| ids.to_str().ok()).unwrap_or_default();
        let ids: Vec<String> = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let answer = response.json().await?;
        for id in ids {
            let delivery = self.send(self.http.get(self.url(&format!("/v1/webhooks/{id}")))).await?;
            let delivery: Value = delivery.json().await?;
            let (kind, last) = (text(&delivery, "kind")?, text(&delivery, "last")?);
            let last = if last.is_empty() { "no answer yet" } else { last };
            if delivery.get("delivered") == Some(&Value::Bool(true)) {
                eprintln!("{kind} delivered");
            } else {
                eprintln!("{kind} not delivered yet ({last}); it will be sent again");
            }
        }
        Ok(answer)
    }
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value.get(member).and_then(Value::as_str).with_context(|| format!("Clerk's answer has no {member}"))
}
