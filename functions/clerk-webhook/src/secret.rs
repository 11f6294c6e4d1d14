//! The signing secret: from Secrets Manager, or, where there is none, from the environment.

use std::time::Duration;

use api::{Problem, required, var};
use aws_sdk_secretsmanager::{
    Client,
    config::{self, timeout::TimeoutConfig},
    error::DisplayErrorContext,
    operation::get_secret_value::GetSecretValueError,
};
use clerk_auth::{ConfigError, WebhookVerifier};
use tokio::sync::OnceCell;

/// How long Secrets Manager may take, all attempts included: well below the function's time-out.
const READ: Duration = Duration::from_secs(4);
const SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";

/// Makes the verifier once the secret is known.
pub(crate) struct Secret {
    source: Source,
    verifier: OnceCell<WebhookVerifier>,
}

enum Source {
    /// The local stack's.
    Environment,
    /// A secret in Secrets Manager, by its ARN or name.
    Manager { client: Client, id: String },
}

impl Secret {
    /// Where the secret is: `CLERK_WEBHOOK_SIGNING_SECRET_ARN` names one in Secrets Manager; without it,
    /// `CLERK_WEBHOOK_SIGNING_SECRET` is the secret itself.
    ///
    /// It is read now, so that no event waits for it. That it cannot be read yet is no error: Clerk gives it out only
    /// once the endpoint's URL exists. Until it is there each event asks again, and is answered 5xx, so that Svix keeps
    /// it.
    pub(crate) async fn from_env() -> Self {
        let source = match var("CLERK_WEBHOOK_SIGNING_SECRET_ARN") {
            Some(id) => {
                let timeouts = TimeoutConfig::builder().operation_timeout(READ).build();
                let config = config::Builder::from(&store::sdk_config("SECRETS_MANAGER")).timeout_config(timeouts);
                Source::Manager { client: Client::from_conf(config.build()), id }
            }
            None => Source::Environment,
        };
        let secret = Self { source, verifier: OnceCell::new() };
        match secret.verifier().await {
            Ok(verifier) => tracing::info!(?verifier, "configured"),
            Err(problem) => tracing::warn!(?problem, "the signing secret is not known yet"),
        }
        secret
    }

    /// The verifier, made by the first call that succeeds.
    pub(crate) async fn verifier(&self) -> Result<&WebhookVerifier, Problem> {
        self.verifier.get_or_try_init(|| self.read()).await
    }

    async fn read(&self) -> Result<WebhookVerifier, Problem> {
        let secret = match &self.source {
            Source::Environment => required(SECRET).map_err(misconfigured)?,
            Source::Manager { client, id } => {
                // The one before the newest is good as well, for as long as it is kept: Svix signs with both for a day.
                let (newest, previous) =
                    tokio::try_join!(version(client, id, "AWSCURRENT"), version(client, id, "AWSPREVIOUS"))?;
                [newest, previous].into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
        };
        WebhookVerifier::from_env(|name| if name == SECRET { Some(secret.clone()) } else { var(name) })
            .map_err(misconfigured)
    }
}

/// The value at `stage`, if there is one.
async fn version(client: &Client, id: &str, stage: &str) -> Result<Option<String>, Problem> {
    match client.get_secret_value().secret_id(id).version_stage(stage).send().await {
        Ok(output) => Ok(output.secret_string),
        Err(error) => match error.as_service_error() {
            Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
            _ => Err(Problem::unavailable(DisplayErrorContext(error).to_string())),
        },
    }
}

fn misconfigured(error: ConfigError) -> Problem {
    Problem::internal(error.to_string())
}
