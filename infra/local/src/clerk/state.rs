//! Users, sessions, organizations and undelivered webhooks, stored between runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use clerk_auth::WebhookVerifier;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use signing_key::{SigningKey, StoredKey};
use uuid::Uuid;

use crate::files;

/// The file of secrets in the data folder.
const SECRETS: &str = "clerk-secrets.json";
/// The file of users, sessions and webhooks in the data folder.
const STATE: &str = "clerk-state.json";
/// The files of this module.
pub(crate) const FILES: [&str; 2] = [SECRETS, STATE];

/// Milliseconds since the epoch, as Clerk writes times.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// An id in Clerk's format: `user_…`, `sess_…`, `msg_…`.
pub(crate) fn new_id(kind: &str) -> String {
    format!("{kind}_{}", Uuid::now_v7().simple())
}

/// The secrets of a Clerk instance.
#[derive(Deserialize, Serialize)]
pub struct Secrets {
    /// The key of the Backend API.
    pub secret_key: String,
    /// The signing secret of webhooks.
    pub webhook_secret: String,
    pub(crate) instance_id: String,
    key: StoredKey,
}

impl Secrets {
    /// The secrets of the instance whose data is in `folder`, if it has ever run.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        read(&folder.join(SECRETS))
    }

    /// The key that verifies tokens, in PEM.
    pub(crate) fn public_key_pem(&self) -> Result<String> {
        SigningKey::load(&self.key)?.public_key_pem()
    }

    pub(crate) fn load_or_make(folder: &Path) -> Result<(Self, SigningKey)> {
        let random = || Uuid::new_v4().simple().to_string();
        let webhook_secret = || format!("whsec_{}", BASE64_STANDARD.encode(random()));
        if let Some(mut secrets) = Self::load(folder)? {
            let secret = Some(secrets.webhook_secret.clone());
            let variable = |name: &str| secret.clone().filter(|_| name == "CLERK_WEBHOOK_SIGNING_SECRET");
            // The functions would reject every webhook.
            if WebhookVerifier::from_env(variable).is_err() {
                eprintln!("The signing secret of the webhooks was malformed. The stack has made a new one.");
                secrets.webhook_secret = webhook_secret();
                write(&folder.join(SECRETS), &secrets)?;
            }
            let key = SigningKey::load(&secrets.key)?;
            return Ok((secrets, key));
        }
        let key = SigningKey::generate()?;
        let secrets = Self {
            secret_key: format!("sk_test_{}", random()),
            webhook_secret: webhook_secret(),
            instance_id: new_id("ins"),
            key: key.stored(),
        };
        write(&folder.join(SECRETS), &secrets)?;
        Ok((secrets, key))
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) image_url: Option<String>,
    pub(crate) banned: bool,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl User {
    /// The id of the email address.
    pub(crate) fn email_id(&self) -> String {
        format!("idn_{}", self.id)
    }

    /// The user in the format of Clerk's Backend API and webhooks.
    pub(crate) fn json(&self) -> Value {
        let address_id = self.email_id();
        json!({
            "id": self.id, "object": "user", "first_name": self.first_name, "last_name": self.last_name,
            "image_url": self.image_url, "has_image": self.image_url.is_some(), "username": null, "external_id": null,
            "primary_email_address_id": address_id,
            "email_addresses": [{
                "id": address_id, "object": "email_address", "email_address": self.email,
                "linked_to": [], "verification": { "status": "verified", "strategy": "email_code" },
            }],
            "banned": self.banned, "locked": false, "public_metadata": {}, "unsafe_metadata": {},
            "created_at": self.created_at, "updated_at": self.updated_at,
        })
    }
}

/// Whether a session is active, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    Ended,
    Removed,
    Revoked,
}

/// A session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) user_id: String,
    /// The cookie of the browser in which it was opened, or none if a command opened it.
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// The id of that browser.
    #[serde(default)]
    pub(crate) client_id: String,
    /// The id of its active organization. It counts only while the user is a member.
    #[serde(default)]
    pub(crate) organization: Option<String>,
    pub(crate) status: Status,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl Session {
    /// The session in the format of Clerk's Backend API and webhooks.
    pub(crate) fn json(&self) -> Value {
        const WEEK: u64 = 7 * 24 * 60 * 60 * 1000;
        json!({
            "id": self.id, "object": "session", "user_id": self.user_id, "client_id": self.client_id,
            "status": self.status, "expire_at": self.created_at + WEEK, "abandon_at": self.created_at + 4 * WEEK,
            "last_active_organization_id": self.organization, "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// A browser, in Clerk's term. Its key in [`State`] is the value of its cookie.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Client {
    pub(crate) id: String,
    /// With it, a server gets the next token of one of its sessions.
    pub(crate) refresh_token: String,
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) sign_up: Option<SignUp>,
    /// The session that its pages used last.
    pub(crate) last_active: Option<String>,
    /// When a user last signed in, or 0.
    pub(crate) signed_in_at: u64,
    pub(crate) created_at: u64,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            id: new_id("client"),
            refresh_token: Uuid::new_v4().simple().to_string(),
            sign_in: None,
            sign_up: None,
            last_active: None,
            signed_in_at: 0,
            created_at: now_ms(),
        }
    }
}

/// A sign-in that waits for a code.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SignIn {
    pub(crate) id: String,
    pub(crate) user_id: String,
    /// Whether a code was sent.
    pub(crate) is_prepared: bool,
}

/// A sign-up that lacks an email address or its verification.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SignUp {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
}

/// A picture that a user has uploaded.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Picture {
    /// Its media type.
    pub(crate) format: String,
    /// In base64.
    pub(crate) content: String,
}

/// An organization.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    /// The user that created it.
    pub(crate) created_by: String,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

impl Organization {
    /// The organization in the format of Clerk's Backend API and webhooks.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id, "object": "organization", "name": self.name, "slug": self.slug, "image_url": null,
            "has_image": false, "created_by": self.created_by, "max_allowed_memberships": MAX_MEMBERS,
            "admin_delete_enabled": true, "public_metadata": {}, "created_at": self.created_at, "updated_at": self.updated_at,
        })
    }
}

/// The role of an organization's creator.
pub(crate) const ADMIN: &str = "org:admin";
/// The role of other members.
pub(crate) const MEMBER: &str = "org:member";
/// How many members an organization can have, by Clerk's default.
pub(crate) const MAX_MEMBERS: usize = 5;

/// A user's membership of an organization.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Membership {
    pub(crate) id: String,
    pub(crate) organization_id: String,
    pub(crate) user_id: String,
    pub(crate) role: String,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
}

/// An undelivered webhook.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// The stored state.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct State {
    pub(crate) users: BTreeMap<String, User>,
    /// The ids of deleted users.
    #[serde(default)]
    pub(crate) deleted_users: BTreeSet<String>,
    pub(crate) sessions: BTreeMap<String, Session>,
    #[serde(default)]
    pub(crate) clients: BTreeMap<String, Client>,
    /// The pictures of users, by the user's id.
    #[serde(default)]
    pub(crate) pictures: BTreeMap<String, Picture>,
    #[serde(default)]
    pub(crate) organizations: BTreeMap<String, Organization>,
    #[serde(default)]
    pub(crate) memberships: BTreeMap<String, Membership>,
    /// The custom permissions of each role.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Vec<String>>,
    /// Whether a browser can have several sessions at once. By default, it has one, as with Clerk.
    #[serde(default)]
    pub(crate) has_several_sessions: bool,
    /// Webhooks that have not been delivered yet.
    pub(crate) outbox: BTreeMap<String, Message>,
}

impl State {
    /// A user's membership of an organization.
    pub(crate) fn membership(&self, organization_id: &str, user_id: &str) -> Option<&Membership> {
        let is = |one: &&Membership| one.organization_id == organization_id && one.user_id == user_id;
        self.memberships.values().find(is)
    }

    /// The members of an organization, the oldest first.
    pub(crate) fn members(&self, organization_id: &str) -> impl Iterator<Item = &Membership> {
        self.memberships.values().filter(move |membership| membership.organization_id == organization_id)
    }

    /// The permissions of a role: Clerk's own, and the custom ones.
    pub(crate) fn permissions(&self, role: &str) -> Vec<&str> {
        const MANAGE: [&str; 3] = ["org:sys_profile:manage", "org:sys_profile:delete", "org:sys_memberships:manage"];
        let own = MANAGE.iter().filter(|_| role == ADMIN).chain(&["org:sys_memberships:read"]).copied();
        own.chain(self.custom_permissions(role)).collect()
    }

    /// The permissions of a role that session tokens have: only the custom ones.
    pub(crate) fn custom_permissions(&self, role: &str) -> impl Iterator<Item = &str> {
        self.roles.get(role).into_iter().flatten().map(String::as_str)
    }
}

/// The state and its file.
pub(crate) struct Stored {
    file: PathBuf,
    pub(crate) state: State,
}

impl Stored {
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let file = folder.join(STATE);
        Ok(Self { state: read(&file)?.unwrap_or_default(), file })
    }

    pub(crate) fn save(&self) -> Result<()> {
        write(&self.file, &self.state)
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let Some(content) = files::read(file)? else { return Ok(None) };
    // serde's own message can contain a secret.
    let value = serde_json::from_slice(&content).map_err(|error| {
        let (file, line) = (file.display(), error.line());
        anyhow!("{file} is damaged in line {line}. Start once with `make run FRESH=1`")
    });
    value.map(Some)
}

fn write<T: Serialize>(file: &Path, value: &T) -> Result<()> {
    files::write(file, &serde_json::to_vec_pretty(value)?)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails where something is missing")]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_damaged_file_has_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        for content in [r#""sk_test_SECRET""#, r#"{ "secret_key": "", "key": "SECRET" }"#, "{\n"] {
            std::fs::write(folder.path().join(SECRETS), content).expect("written");
            let error = Secrets::load(folder.path()).err().expect("it is damaged");
            let text = format!("{error:#}");
            assert!(text.contains("is damaged in line") && !text.contains("SECRET"), "{text}");
        }
    }
}
