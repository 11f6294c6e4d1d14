//! The signing secret: from Secrets Manager, or, where there is none, from the environment.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::{Problem, required, var};
use aws_sdk_secretsmanager::{
    Client,
    config::{self, timeout::TimeoutConfig},
    operation::get_secret_value::GetSecretValueError,
};
use axum::http::HeaderMap;
use clerk_auth::{ConfigError, Event, WebhookError, WebhookVerifier};
use tokio::sync::Mutex;

use crate::routes::refused;

const SECRET: &str = "CLERK_WEBHOOK_SIGNING_SECRET";
/// How long Secrets Manager may take, all attempts included: well below the function's time-out.
const SECRET_READ_TIMEOUT: Duration = Duration::from_secs(4);
/// A known secret is read again after this time, so that a withdrawn one is forgotten.
const REREAD_INTERVAL: Duration = Duration::from_mins(5);
/// A bad signature can mean that the secret was rotated, but mostly comes from a stranger.
const REREAD_INTERVAL_AFTER_BAD_SIGNATURE: Duration = Duration::from_mins(1);
/// How long a failure to read the first secret is remembered.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Verifies deliveries with the signing secret, which is read again from time to time.
pub(crate) struct Secret {
    source: Source,
    /// Held while the secret is read, so that it is read once for all deliveries that need it.
    state: Mutex<State>,
}

enum Source {
    /// The local stack's.
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
    /// Secrets Manager does not answer: nothing is known about the secret.
    Unavailable(String),
    /// There is no secret, or it is not one.
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
    /// Where the secret is: `CLERK_WEBHOOK_SIGNING_SECRET_ARN` names one in Secrets Manager; without it,
    /// `CLERK_WEBHOOK_SIGNING_SECRET` is the secret itself.
    ///
    /// It is read now, so that no event waits for it. A failure is not fatal: Clerk gives the secret out only once the
    /// endpoint's URL exists. Until it is there events are answered 5xx, so that Svix keeps them.
    pub(crate) async fn from_env() -> Self {
        let source = match var("CLERK_WEBHOOK_SIGNING_SECRET_ARN") {
            Some(id) => {
                let timeouts = TimeoutConfig::builder().operation_timeout(SECRET_READ_TIMEOUT).build();
                let (config, refresh) = store::sdk_config("SECRETS_MANAGER");
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

    /// The event in a delivery, if it is signed. Headers are checked first: without them the secret is not needed.
    pub(crate) async fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<Event, Problem> {
        WebhookVerifier::check_headers(headers).map_err(|error| refused(&error))?;
        let verifier = self.verifier(REREAD_INTERVAL, now).await?;
        let mut verified = verifier.verify(headers, body);
        if verified.as_ref().is_err_and(|error| *error == WebhookError::BadSignature) {
            verified = self.verifier(REREAD_INTERVAL_AFTER_BAD_SIGNATURE, now).await?.verify(headers, body);
        }
        verified.map_err(|error| refused(&error))
    }

    /// The verifier, of a secret that was read less than `interval` ago. While Secrets Manager does not answer, a known
    /// secret stays in use.
    async fn verifier(&self, interval: Duration, now: SystemTime) -> Result<Arc<WebhookVerifier>, Failure> {
        let mut state = self.state.lock().await;
        let interval = if state.verifier.is_some() { interval } else { RETRY_INTERVAL };
        // A clock that was set back has the secret read again.
        let recent = |attempted: SystemTime| now.duration_since(attempted).is_ok_and(|age| age < interval);
        if !state.attempted.is_some_and(recent) {
            let read = self.read().await;
            state.attempted = Some(now);
            match read {
                Ok(verifier) => state.verifier = Some(Arc::new(verifier)),
                Err(failure) => {
                    tracing::warn!(?failure, "the signing secret cannot be read");
                    // What is in Secrets Manager decides, also where it is wrong.
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
            return Ok(verifier(&required(SECRET)?)?);
        };
        // The one before the newest is good as well, for as long as it is kept: Svix signs with both for a day.
        let (newest, previous) = tokio::join!(version(client, id, "AWSCURRENT"), version(client, id, "AWSPREVIOUS"));
        let newest = newest?.unwrap_or_default();
        let alone = verifier(&newest)?;
        let previous = previous.unwrap_or_else(|failure| {
            tracing::warn!(?failure, "the previous signing secret (AWSPREVIOUS) cannot be read, and is left out");
            None
        });
        let Some(previous) = previous else { return Ok(alone) };
        Ok(verifier(&format!("{newest} {previous}")).unwrap_or_else(|_| {
            tracing::warn!("the previous signing secret (AWSPREVIOUS) is not a signing secret, and is left out");
            alone
        }))
    }
}

/// A verifier that accepts what is signed with one of `secrets`.
fn verifier(secrets: &str) -> Result<WebhookVerifier, ConfigError> {
    WebhookVerifier::from_env(|name| if name == SECRET { Some(secrets.to_owned()) } else { var(name) })
}

/// The value at `stage`, if there is one.
async fn version(client: &Client, id: &str, stage: &str) -> Result<Option<String>, Failure> {
    match client.get_secret_value().secret_id(id).version_stage(stage).send().await {
        Ok(output) => Ok(output.secret_string),
        Err(error) => match error.as_service_error() {
            Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
            // It is about to be deleted, so what it held is withdrawn.
            Some(GetSecretValueError::InvalidRequestException(_)) => {
                Err(Failure::Misconfigured("the signing secret is marked for deletion".to_owned()))
            }
            _ => Err(Failure::Unavailable(store::describe(&error))),
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
    /// A value whose key may not be used.
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
                .http_client(store::http_client());
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

    /// How a delivery signed with `signed_with` fares `seconds` after the first.
    async fn outcome(secret: &Secret, signed_with: &str, seconds: u64) -> Option<Code> {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
        secret.verify(&signed(signed_with), BODY, now).await.err().map(|problem| problem.code())
    }

    #[tokio::test]
    async fn requests_without_headers_do_not_read_the_secret() {
        let (manager, secret) = Manager::start().await;
        for _ in 0..3 {
            let refused = secret.verify(&HeaderMap::new(), BODY, SystemTime::now()).await.expect_err("refused");
            assert_eq!(refused.code(), Code::WebhookHeadersMissing);
        }
        assert_eq!(manager.reads(), 0);
    }

    #[tokio::test]
    async fn failed_reads_are_remembered() {
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
    async fn rotated_secrets_are_picked_up_and_withdrawn_ones_forgotten() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 0).await, None);
        for second in 0..60 {
            assert_eq!(outcome(&secret, NEW, second).await, Some(Code::WebhookBadSignature));
        }
        assert_eq!(manager.reads(), 1, "a stranger's signatures cost no reads");
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
    async fn a_known_secret_stays_in_use_while_secrets_manager_is_down() {
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
    async fn only_the_current_secret_has_to_be_one() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", "sk_live_no secret!")]);
        assert_eq!(outcome(&secret, OLD, 0).await, Some(Code::Internal));
        // The correction makes the mistake the previous version.
        manager.holds(&[("AWSCURRENT", OLD), ("AWSPREVIOUS", "sk_live_no secret!")]);
        assert_eq!(outcome(&secret, OLD, 10).await, None);
        assert_eq!(outcome(&secret, NEW, 10).await, Some(Code::WebhookBadSignature));
        // Nor has the previous version to be readable.
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD), ("AWSPREVIOUS", DENIED)]);
        assert_eq!(outcome(&secret, OLD, 0).await, None);
        // What was known does not outlive a secret that is wrong or gone.
        for current in [&[("AWSCURRENT", "whsec_!"), ("AWSPREVIOUS", OLD)][..], &[]] {
            let (manager, secret) = Manager::start().await;
            manager.holds(&[("AWSCURRENT", OLD)]);
            assert_eq!(outcome(&secret, OLD, 0).await, None);
            manager.holds(current);
            assert_eq!(outcome(&secret, OLD, 300).await, Some(Code::Internal));
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_has_the_secret_read_once_more() {
        let (manager, secret) = Manager::start().await;
        manager.holds(&[("AWSCURRENT", OLD)]);
        assert_eq!(outcome(&secret, OLD, 3600).await, None);
        for second in 0..10 {
            assert_eq!(outcome(&secret, OLD, second).await, None);
        }
        assert_eq!(manager.reads(), 2);
    }
}
