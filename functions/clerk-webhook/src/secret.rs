//! The signing secret, from Secrets Manager or from the environment.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::{Problem, var};
use aws_sdk_secretsmanager::{
    Client,
    config::{self, timeout::TimeoutConfig},
    operation::get_secret_value::GetSecretValueError,
};
use axum::http::HeaderMap;
use clerk_auth::{ConfigError, Event, WebhookError, WebhookVerifier};
use tokio::sync::Mutex;

use crate::routes::rejected;

const SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";
/// The limit for Secrets Manager, all attempts included: well below the function's timeout.
const SECRET_READ_TIMEOUT: Duration = Duration::from_secs(4);
/// A known secret is read again after this time, so that a withdrawn one expires.
const REREAD_INTERVAL: Duration = Duration::from_mins(5);
/// A bad signature can mean that the secret was rotated, but mostly is a forgery.
const REREAD_INTERVAL_AFTER_BAD_SIGNATURE: Duration = Duration::from_mins(1);
/// How long a failure to read the first secret is cached.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Verifies deliveries with the signing secret, which is read again from time to time.
pub(crate) struct Secret {
    source: Source,
    /// Locked while the secret is read, so that it is read once for all waiting deliveries.
    state: Mutex<State>,
}

enum Source {
    /// An environment variable, in the local stack.
    Environment,
    /// A secret in Secrets Manager, by its ARN or name.
    Manager { client: Client, id: String },
}

#[derive(Default)]
struct State {
    verifier: Option<Arc<WebhookVerifier>>,
    attempted: Option<SystemTime>,
    failure: Option<Failure>,
}

/// Why the secret is not known.
#[derive(Clone, Debug)]
enum Failure {
    /// Secrets Manager is unavailable, so the secret is unknown.
    Unavailable(String),
    /// The secret is missing or malformed.
    Misconfigured(String),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(cause) => Self::unavailable(cause),
            Failure::Misconfigured(cause) => Self::internal(cause),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Misconfigured(error.to_string())
    }
}

impl Secret {
    /// `CLERK_WEBHOOK_SIGNING_SECRET_ARN` names a secret in Secrets Manager. Without it, `CLERK_WEBHOOK_SIGNING_SECRET` is
    /// the secret itself.
    ///
    /// It is read now, so that no event waits for it. A failure is not fatal: Clerk shows the secret only once the
    /// endpoint's URL exists. Until then the function returns 5xx, so that Svix retries.
    pub(crate) async fn from_env() -> Self {
        let source = match var("CLERK_WEBHOOK_SIGNING_SECRET_ARN") {
            Some(id) => {
                let timeouts = TimeoutConfig::builder().operation_timeout(SECRET_READ_TIMEOUT).build();
                let (config, refresh) = aws::sdk_config("SECRETS_MANAGER", var);
                let config = config::Builder::from(&config).retry_classifier(refresh).timeout_config(timeouts);
                Source::Manager { client: Client::from_conf(config.build()), id }
            }
            None => Source::Environment,
        };
        let secret = Self { source, state: Mutex::default() };
        if let Ok(verifier) = secret.verifier(REREAD_INTERVAL, SystemTime::now()).await {
            tracing::info!(?verifier, "configured");
        }
        secret
    }

    /// The event of a delivery, if its signature is valid. Headers are checked first, without reading the secret.
    pub(crate) async fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<Event, Problem> {
        WebhookVerifier::check_headers(headers).map_err(|error| rejected(&error))?;
        let verifier = self.verifier(REREAD_INTERVAL, now).await?;
        let mut verified = verifier.verify(headers, body);
        if verified.as_ref().is_err_and(|error| *error == WebhookError::BadSignature) {
            verified = self.verifier(REREAD_INTERVAL_AFTER_BAD_SIGNATURE, now).await?.verify(headers, body);
        }
        verified.map_err(|error| rejected(&error))
    }

    /// The verifier with a secret that was read less than `interval` ago. While Secrets Manager is unavailable, a known
    /// secret stays in use.
    async fn verifier(&self, interval: Duration, now: SystemTime) -> Result<Arc<WebhookVerifier>, Failure> {
        let mut state = self.state.lock().await;
        let interval = if state.verifier.is_some() { interval } else { RETRY_INTERVAL };
        // If the clock was set back, the secret is read again.
        let recent = |attempted: SystemTime| now.duration_since(attempted).is_ok_and(|age| age < interval);
        if !state.attempted.is_some_and(recent) {
            let read = self.read().await;
            state.attempted = Some(now);
            match read {
                Ok(verifier) => state.verifier = Some(Arc::new(verifier)),
                Err(failure) => {
                    tracing::warn!(?failure, "the signing secret cannot be read");
                    // Secrets Manager is authoritative, even if its value is invalid.
                    if matches!(failure, Failure::Misconfigured(_)) {
                        state.verifier = None;
                    }
                    state.failure = Some(failure);
                }
            }
        }
        match (&state.verifier, &state.failure) {
            (Some(verifier), _) => Ok(Arc::clone(verifier)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(Failure::Unavailable("the signing secret was not read".to_owned())),
        }
    }

    async fn read(&self) -> Result<WebhookVerifier, Failure> {
        let Source::Manager { client, id } = &self.source else {
            return Ok(verifier(&var(SECRET).ok_or(ConfigError::new(SECRET, "is not set"))?)?);
        };
        // The previous secret is valid as well while Secrets Manager keeps it: Svix signs with both for a day.
        let (newest, previous) = tokio::join!(version(client, id, "AWSCURRENT"), version(client, id, "AWSPREVIOUS"));
        let newest = newest?.unwrap_or_default();
        let current_only = verifier(&newest)?;
        let previous = previous.unwrap_or_else(|failure| {
            tracing::warn!(?failure, "the previous signing secret (AWSPREVIOUS) cannot be read and is ignored");
            None
        });
        let Some(previous) = previous else { return Ok(current_only) };
        Ok(verifier(&format!("{newest} {previous}")).unwrap_or_else(|_| {
            tracing::warn!("the previous signing secret (AWSPREVIOUS) is not a signing secret and is ignored");
            current_only
        }))
    }
}

/// A verifier that accepts signatures by any of `secrets`.
fn verifier(secrets: &str) -> Result<WebhookVerifier, ConfigError> {
    WebhookVerifier::from_env(|name| if name == SECRET { Some(secrets.to_owned()) } else { var(name) })
}

/// The value of the version `stage`, if there is one.
async fn version(client: &Client, id: &str, stage: &str) -> Result<Option<String>, Failure> {
    match client.get_secret_value().secret_id(id).version_stage(stage).send().await {
        Ok(output) => Ok(output.secret_string),
        Err(error) => match error.as_service_error() {
            Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
            // The secret is marked for deletion, which withdraws its value.
            Some(GetSecretValueError::InvalidRequestException(_)) => {
                Err(Failure::Misconfigured("the signing secret is marked for deletion".to_owned()))
            }
            _ => Err(Failure::Unavailable(aws::describe(&error))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex as SyncMutex, time::UNIX_EPOCH};

    use api::Code;
    use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use axum::{Json, Router, extract::State as Shared, http::StatusCode, response::IntoResponse, routing::post};
    use serde_json::{Value, json};
    use svix::webhooks::Webhook;
    use tokio::net::TcpListener;

    use super::*;

    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    /// A value whose encryption key may not be used.
    const DENIED: &str = "denied";
    const BODY: &[u8] = br#"{"type":"a"}"#;

    /// Secrets Manager: a value for each stage, or none while it is down.
    #[derive(Default)]
    struct Manager {
        stages: SyncMutex<Option<HashMap<&'static str, &'static str>>>,
        reads: SyncMutex<usize>,
    }

    async fn get_secret_value(Shared(manager): Shared<Arc<Manager>>, body: String) -> impl IntoResponse {
        let request: Value = serde_json::from_str(&body).expect("JSON");
        let stage = request["VersionStage"].as_str().expect("a stage");
        if stage == "AWSCURRENT" {
            *manager.reads.lock().expect("not poisoned") += 1;
        }
        match &*manager.stages.lock().expect("not poisoned") {
            None => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "__type": "InternalServiceError" }))),
            Some(stages) => match stages.get(stage) {
                Some(&DENIED) => (StatusCode::BAD_REQUEST, Json(json!({ "__type": "DecryptionFailure" }))),
                Some(value) => (StatusCode::OK, Json(json!({ "SecretString": value }))),
                None => (StatusCode::BAD_REQUEST, Json(json!({ "__type": "ResourceNotFoundException" }))),
            },
        }
    }

    impl Manager {
        async fn start() -> (Arc<Self>, Secret) {
            let manager = Arc::new(Self::default());
            let router = Router::new().route("/", post(get_secret_value)).with_state(Arc::clone(&manager));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("http://{}", listener.local_addr().expect("its address"));
            tokio::spawn(async move { axum::serve(listener, router).await });
            let config = aws_sdk_secretsmanager::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("id", "key", None, None, "test"))
                .retry_config(RetryConfig::disabled())
                .endpoint_url(url)
                .http_client(aws::http_client(None));
            let source = Source::Manager { client: Client::from_conf(config.build()), id: "secret".to_owned() };
            (manager, Secret { source, state: Mutex::default() })
        }

        fn holds(&self, stages: &[(&'static str, &'static str)]) {
            *self.stages.lock().expect("not poisoned") = Some(stages.iter().copied().collect());
        }

        fn is_down(&self) {
            *self.stages.lock().expect("not poisoned") = None;
        }

        fn reads(&self) -> usize {
            *self.reads.lock().expect("not poisoned")
        }
    }

    fn signed(secret: &str) -> HeaderMap {
        let timestamp = i64::try_from(UNIX_EPOCH.elapsed().expect("after 1970").as_secs()).expect("soon");
        let signature = Webhook::new(secret).expect("a secret").sign("msg_1", timestamp, BODY).expect("UTF-8");
        [("svix-id", "msg_1".to_owned()), ("svix-timestamp", timestamp.to_string()), ("svix-signature", signature)]
            .into_iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    /// The outcome of a delivery signed with `signed_with`, `seconds` after the first.
    async fn outcome(secret: &Secret, signed_with: &str, seconds: u64) -> Option<Code> {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        secret.verify(&signed(signed_with), BODY, now).await.err().map(|problem| problem.code())
    }

    #[tokio::test]
    async fn requests_without_headers_do_not_read_the_secret() {
        let (manager, secret) = Manager::start().await;
        for _ in 0..3 {
            let rejected = secret.verify(&HeaderMap::new(), BODY, SystemTime::now()).await.expect_err("rejected");
            assert_eq!(rejected.code(), Code::WebhookHeadersMissing);
        }
        assert_eq!(manager.reads(), 0);
    }

    #[tokio::test]
    async fn failed_reads_are_cached() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[]);
        for second in 0..10 {
            assert_eq!(outcome(&secret, OLD, second).await, Some(Code::Internal), "there is no secret yet");
        }
        assert_eq!(manager.reads(), 1);
        manager.is_down();
        for second in 10..20 {
            assert_eq!(outcome(&secret, OLD, second).await, Some(Code::Unavailable));
        }
        assert_eq!(manager.reads(), 2);
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 20).await, None);
    }

    #[tokio::test]
    async fn rotated_secrets_are_reread_and_withdrawn_ones_expire() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 0).await, None);
        for second in 0..60 {
            assert_eq!(outcome(&secret, NEW, second).await, Some(Code::WebhookBadSignature));
        }
        assert_eq!(manager.reads(), 1, "forged signatures cause no reads");
        assert_eq!(outcome(&secret, NEW, 60).await, Some(Code::WebhookBadSignature));
        assert_eq!(manager.reads(), 2);

        manager.holds(&[("AWSCURRENT", NEW), ("AWSPREVIOUS", OLD)]);
        assert_eq!(outcome(&secret, NEW, 119).await, Some(Code::WebhookBadSignature));
        assert_eq!(outcome(&secret, NEW, 120).await, None);
        assert_eq!(outcome(&secret, OLD, 120).await, None, "Svix signs with both for a day");

        manager.holds(&[("AWSCURRENT", NEW)]);
        assert_eq!(outcome(&secret, OLD, 419).await, None);
        assert_eq!(outcome(&secret, OLD, 420).await, Some(Code::WebhookBadSignature));
        assert_eq!(manager.reads(), 4);
    }

    #[tokio::test]
    async fn known_secret_stays_in_use_while_secrets_manager_is_down() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 0).await, None);
        manager.is_down();
        for second in 300..310 {
            assert_eq!(outcome(&secret, OLD, second).await, None);
            assert_eq!(outcome(&secret, NEW, second).await, Some(Code::WebhookBadSignature));
        }
        assert_eq!(manager.reads(), 2);
    }

    #[tokio::test]
    async fn only_the_current_secret_must_be_valid() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", "sk_live_no secret!")]);
        assert_eq!(outcome(&secret, OLD, 0).await, Some(Code::Internal));
        // The correction makes the mistake the previous version.
        manager.holds(&[("AWSCURRENT", OLD), ("AWSPREVIOUS", "sk_live_no secret!")]);
        assert_eq!(outcome(&secret, OLD, 10).await, None);
        assert_eq!(outcome(&secret, NEW, 10).await, Some(Code::WebhookBadSignature));
        // The previous version need not be readable either.
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD), ("AWSPREVIOUS", DENIED)]);
        assert_eq!(outcome(&secret, OLD, 0).await, None);
        // A known secret does not stay in use if the current one is invalid or missing.
        for current in [&[("AWSCURRENT", "whsec_!"), ("AWSPREVIOUS", OLD)][..], &[]] {
            let (manager, secret) = Manager::start().await;
            manager.holds(&[("AWSCURRENT", OLD)]);
            assert_eq!(outcome(&secret, OLD, 0).await, None);
            manager.holds(current);
            assert_eq!(outcome(&secret, OLD, 300).await, Some(Code::Internal));
        }
    }

    #[tokio::test]
    async fn clock_set_back_rereads_the_secret_once() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 3600).await, None);
        for second in 0..10 {
            assert_eq!(outcome(&secret, OLD, second).await, None);
        }
        assert_eq!(manager.reads(), 2);
    }
}
