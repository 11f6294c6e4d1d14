//! Repairs profiles whose webhooks were missed: sends each of Clerk's users as a signed `user.updated` to the webhook
//! function, which handles it like any other event and reports whether it changed anything.

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

use crate::clerk::{OUTCOME_HEADER, new_id, now_ms};

/// The number of attempts for a request.
const ATTEMPTS: u32 = 5;
/// The delay before a retry, unless the response has `Retry-After`.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The options of `reconcile`.
#[derive(Args)]
#[group(skip)]
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
    /// Users in one page of a request, at most 500
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    page: u16,
    /// Start at the first user even if the last run was interrupted
    #[arg(long)]
    restart: bool,
}

/// The local stack's values for options that are not set.
pub(crate) struct Defaults {
    pub(crate) api: String,
    pub(crate) webhook: String,
    pub(crate) secret_key: Option<String>,
    pub(crate) signing_secret: Option<String>,
    /// The file with the offset of the next user, for a run after an interrupted one.
    pub(crate) progress: PathBuf,
}

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
        let begin = if self.restart { 0 } else { saved_offset(&defaults.progress) };
        let total = walk.count().await?;
        let bar = ProgressBar::new(total).with_position(begin);
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} users, {eta} left")?);

        let mut offset = begin;
        let (mut changed, mut current, mut failed) = (0_u64, 0_u64, 0_u64);
        loop {
            // The snapshots are at least as new as this, so any event that Clerk announces from now on replaces them.
            let announced_at = now_ms();
            let users = walk.users(offset, self.page).await?;
            if users.is_empty() {
                break;
            }
            for user in users {
                let id = user.get("id").and_then(Value::as_str).unwrap_or("a user without an id").to_owned();
                let outcome = walk.repair(user, announced_at).await;
                let outcome =
                    outcome.with_context(|| format!("stopped at user {offset}. Run it again to continue there"))?;
                match outcome.as_str() {
                    "changed" => changed += 1,
                    "known" => current += 1,
                    other => {
                        failed += 1;
                        bar.suspend(|| {
                            eprintln!("{id} failed: the webhook function did not apply the event ({other})");
                        });
                    }
                }
                offset += 1;
                bar.inc(1);
                fs::write(&defaults.progress, offset.to_string()).context("the progress cannot be saved")?;
            }
        }
        bar.finish_and_clear();
        // The next run starts at the first user. The file may be missing.
        drop(fs::remove_file(&defaults.progress));
        println!("users: {}, changed: {changed}, already current: {current}, failed: {failed}", offset - begin);
        if failed > 0 {
            bail!("not every user was reconciled. See the webhook function's log");
        }
        Ok(())
    }
}

fn saved_offset(progress: &PathBuf) -> u64 {
    fs::read_to_string(progress).ok().and_then(|offset| offset.trim().parse().ok()).unwrap_or(0)
}

impl Walk {
    /// The instance's id, since the webhook function can be configured to reject events of other instances.
    async fn instance(&self) -> Result<String> {
        let response = self.request(|| self.http.get(format!("{}/v1/instance", self.api))).await?;
        Ok(response.json::<Instance>().await.context("Clerk's response is not an instance")?.id)
    }

    async fn count(&self) -> Result<u64> {
        let response = self.request(|| self.http.get(format!("{}/v1/users/count", self.api))).await?;
        Ok(response.json::<Count>().await.context("Clerk's response is not a count")?.total_count)
    }

    /// Oldest first, so that a user who signs up in the meantime does not move others to another page.
    async fn users(&self, offset: u64, limit: u16) -> Result<Vec<Value>> {
        let query =
            [("offset", offset.to_string()), ("limit", limit.to_string()), ("order_by", "+created_at".to_owned())];
        let response = self.request(|| self.http.get(format!("{}/v1/users", self.api)).query(&query)).await?;
        response.json().await.context("Clerk's response is not a list of users")
    }

    async fn request(&self, request: impl Fn() -> RequestBuilder) -> Result<Response> {
        let response = with_retries(|| request().bearer_auth(&self.secret_key)).await;
        let response = response.with_context(|| {
            format!(
                "Clerk's Backend API does not respond at {}. Set CLERK_API_URL, or start the local stack with `make run`",
                self.api
            )
        })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => bail!("Clerk rejects this CLERK_SECRET_KEY"),
            status => bail!("Clerk returned {status}"),
        }
    }

    /// Sends a user's snapshot. Returns the outcome that the webhook function reports.
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
        let response = with_retries(request).await;
        let response =
            response.with_context(|| format!("the webhook function does not respond at {}", self.webhook))?;
        if !response.status().is_success() {
            bail!("the webhook function returned {}", response.status());
        }
        let outcome = response.headers().get(OUTCOME_HEADER).and_then(|outcome| outcome.to_str().ok());
        Ok(outcome.unwrap_or("its response reports no outcome").to_owned())
    }
}

/// Makes a request, and retries it after transient failures. Honors `Retry-After`.
async fn with_retries(request: impl Fn() -> RequestBuilder) -> Result<Response> {
    for _ in 1..ATTEMPTS {
        match request().send().await {
            Ok(response)
                if response.status() == StatusCode::TOO_MANY_REQUESTS || response.status().is_server_error() =>
            {
                sleep(retry_after(response.headers()).unwrap_or(RETRY_DELAY)).await;
            }
            Err(error) if error.is_timeout() || error.is_connect() => sleep(RETRY_DELAY).await,
            response => return Ok(response?),
        }
    }
    Ok(request().send().await?)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
