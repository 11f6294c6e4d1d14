//! Repairs profiles that webhooks missed: walks Clerk's users and sends each as a signed `user.updated` to the webhook
//! function, which takes it like any other event. What is up to date already stays as it is, and is counted as such.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::{Value, json};
use svix::webhooks::Webhook;
use tokio::time::sleep;

use crate::clerk::{new_id, now_ms};

/// How often a request is made before it is given up.
const ATTEMPTS: u32 = 5;
/// How long to wait after a refusal that does not say.
const WAIT: Duration = Duration::from_secs(1);

/// What is reconciled with what.
#[derive(Args)]
pub(crate) struct Reconcile {
    /// Clerk's Backend API [default: the local stack's]
    #[arg(long, env = "CLERK_API_URL")]
    api_url: Option<String>,
    /// The webhook function's URL [default: the local stack's]
    #[arg(long, env = "CLERK_WEBHOOK_URL")]
    webhook_url: Option<String>,
    /// The instance's secret key, `sk_…` [default: the local stack's]
    #[arg(long, env = "CLERK_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// The endpoint's signing secret, `whsec_…` [default: the local stack's]
    #[arg(long, env = "CLERK_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    signing_secret: Option<String>,
    /// Users asked for at a time, at most 500
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    page: u16,
    /// Begin at the first user even if the last run was broken off
    #[arg(long)]
    restart: bool,
}

/// What the local stack has for what is not said.
pub(crate) struct Defaults {
    pub(crate) api: String,
    pub(crate) webhook: String,
    pub(crate) secret_key: Option<String>,
    pub(crate) signing_secret: Option<String>,
    /// Where it is remembered how far a run has come.
    pub(crate) progress: PathBuf,
}

/// The header of the webhook function's answer that says what became of the event.
const OUTCOME_HEADER: &str = "event-outcome";

struct Walk {
    instance_id: String,
    api: String,
    webhook: String,
    secret_key: String,
    signer: Webhook,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
}

#[derive(Deserialize)]
struct Count {
    total_count: u64,
}

impl Reconcile {
    pub(crate) async fn run(self, defaults: Defaults) -> Result<()> {
        let secret_key = self.secret_key.or(defaults.secret_key).context("set CLERK_SECRET_KEY")?;
        let signing_secret =
            self.signing_secret.or(defaults.signing_secret).context("set CLERK_WEBHOOK_SIGNING_SECRET")?;
        let mut walk = Walk {
            instance_id: String::new(),
            api: self.api_url.unwrap_or(defaults.api).trim_end_matches('/').to_owned(),
            webhook: self.webhook_url.unwrap_or(defaults.webhook),
            secret_key,
            signer: Webhook::new(&signing_secret).context("CLERK_WEBHOOK_SIGNING_SECRET is not a signing secret")?,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?,
        };
        walk.instance_id = walk.instance().await?;
        let begin = if self.restart { 0 } else { remembered(&defaults.progress) };
        let total = walk.count().await?;
        let bar = ProgressBar::new(total).with_position(begin);
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} users, {eta} left")?);

        let mut offset = begin;
        let (mut changed, mut current, mut failed) = (0_u64, 0_u64, 0_u64);
        loop {
            // The snapshots are at least as new as this, so an event that Clerk announces from now on wins over them.
            let announced_at = now_ms();
            let users = walk.users(offset, self.page).await?;
            if users.is_empty() {
                break;
            }
            for user in users {
                let id = user.get("id").and_then(Value::as_str).unwrap_or("a user without an id").to_owned();
                let outcome = walk.repair(user, announced_at).await;
                let outcome =
                    outcome.with_context(|| format!("stopped at user {offset}; run it again to go on there"))?;
                match outcome.as_str() {
                    "changed" => changed += 1,
                    "known" => current += 1,
                    other => {
                        failed += 1;
                        bar.suspend(|| {
                            eprintln!("{id} failed: the webhook function made no use of the event ({other})");
                        });
                    }
                }
                offset += 1;
                bar.inc(1);
                fs::write(&defaults.progress, offset.to_string()).context("the progress cannot be written down")?;
            }
        }
        bar.finish_and_clear();
        // The next run begins anew. That the file is not there is as good.
        drop(fs::remove_file(&defaults.progress));
        println!("{} users reconciled: {changed} changed, {current} already current, {failed} failed", offset - begin);
        if failed > 0 {
            bail!("{failed} users were not reconciled. See the webhook function's log");
        }
        Ok(())
    }
}

fn remembered(progress: &PathBuf) -> u64 {
    fs::read_to_string(progress).ok().and_then(|offset| offset.trim().parse().ok()).unwrap_or(0)
}

impl Walk {
    /// The instance that events are from: the webhook function rejects those of others where it is configured to.
    async fn instance(&self) -> Result<String> {
        let answer = self.ask(|| self.http.get(format!("{}/v1/instance", self.api))).await?;
        Ok(answer.json::<Instance>().await.context("Clerk's answer is not an instance")?.id)
    }

    async fn count(&self) -> Result<u64> {
        let answer = self.ask(|| self.http.get(format!("{}/v1/users/count", self.api))).await?;
        Ok(answer.json::<Count>().await.context("Clerk's answer is no count")?.total_count)
    }

    /// Oldest first: who signs up meanwhile comes last, and moves nobody to another page.
    async fn users(&self, offset: u64, limit: u16) -> Result<Vec<Value>> {
        let query =
            [("offset", offset.to_string()), ("limit", limit.to_string()), ("order_by", "+created_at".to_owned())];
        let answer = self.ask(|| self.http.get(format!("{}/v1/users", self.api)).query(&query)).await?;
        answer.json().await.context("Clerk's answer is no list of users")
    }

    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Response> {
        let answer = patiently(|| request().bearer_auth(&self.secret_key)).await.context("Clerk did not answer")?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => bail!("Clerk does not take this CLERK_SECRET_KEY"),
            status => bail!("Clerk answered {status}"),
        }
    }

    /// Sends a user's snapshot. Returns what the webhook function says became of it.
    async fn repair(&self, user: Value, announced_at: u64) -> Result<String> {
        let event = json!({
            "type": "user.updated", "object": "event", "timestamp": announced_at, "instance_id": self.instance_id,
            "data": user,
        });
        let (id, body) = (new_id("msg"), event.to_string());
        let request = || {
            let timestamp = i64::try_from(now_ms() / 1000).unwrap_or_default();
            let signature = self.signer.sign(&id, timestamp, body.as_bytes()).unwrap_or_default();
            self.http
                .post(&self.webhook)
                .header("content-type", "application/json")
                .header("svix-id", &id)
                .header("svix-timestamp", timestamp)
                .header("svix-signature", signature)
                .body(body.clone())
        };
        let answer = patiently(request).await.context("the webhook function did not answer")?;
        if !answer.status().is_success() {
            bail!("the webhook function answered {}", answer.status());
        }
        let outcome = answer.headers().get(OUTCOME_HEADER).and_then(|outcome| outcome.to_str().ok());
        Ok(outcome.unwrap_or("its answer does not say what became of it").to_owned())
    }
}

/// Makes a request, and makes it again while it is refused for the time being: as often as asked to by `Retry-After`.
async fn patiently(request: impl Fn() -> RequestBuilder) -> Result<Response> {
    for _ in 1..ATTEMPTS {
        match request().send().await {
            Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.status().is_server_error() => {
                sleep(asked_for(answer.headers()).unwrap_or(WAIT)).await;
            }
            Err(error) if error.is_timeout() || error.is_connect() => sleep(WAIT).await,
            answer => return Ok(answer?),
        }
    }
    Ok(request().send().await?)
}

fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
