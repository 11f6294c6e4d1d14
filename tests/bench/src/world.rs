//! What the functions are measured in: the tables and what is in them, Clerk's keys, and the environment.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{Json, Router, routing::get};
use dynoxide::{Database, ImportOptions};
use local::{
    clerk::{ORIGIN, SigningKey},
    dynamodb,
    template::Template,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime};

use crate::{
    programs::Contestant,
    proxies::{self, Roots},
};

/// Chats and their owners for the cases: each has as many as its name says.
pub(crate) const LISTS: [usize; 3] = [0, 10, 100];
/// Who writes; it has as many chats as it was given here, and those it makes.
pub(crate) const WRITER: &str = "user_writer";
const INSTANCE: &str = "ins_bench";
/// Base64 of "a secret of the benchmark's own.".
const WEBHOOK_SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdGhlIGJlbmNobWFyaydzIG93bi4=";
/// Where the tables' names stand in a function's environment.
const TABLES: [(&str, &str); 3] =
    [("CHATS_TABLE", "ChatsTable"), ("USERS_TABLE", "UsersTable"), ("SESSIONS_TABLE", "SessionsTable")];

/// How long an answer of a distant database is on its way.
pub(crate) const FAR: Duration = Duration::from_millis(3);

/// How long a token is used, in seconds.
const TOKEN_USED: u64 = 20;

/// How a function reaches the database, and where it has Clerk's keys from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Plain HTTP; the key in the environment.
    Plain,
    /// TLS; the key in the environment.
    Tls,
    /// Plain HTTP; the keys from the issuer.
    Jwks,
    /// Plain HTTP, each answer [`FAR`] later; the key in the environment.
    Far,
}

/// A database with a person of each kind in it, and what a function needs to know to serve them.
pub(crate) struct World {
    pub(crate) database: Database,
    key: SigningKey,
    plain: String,
    tls: String,
    far: String,
    issuer: String,
    roots: Roots,
    pub(crate) folder: PathBuf,
    /// Tokens in use, and when they were signed, by user.
    tokens: RefCell<HashMap<String, (u64, String)>>,
}

/// The name of whoever has `chats` chats.
pub(crate) fn owner_of(chats: usize) -> String {
    format!("user_{chats}")
}

/// When somebody's chats were made: a second apart.
fn created_at(number: usize) -> u64 {
    1_700_000_000_000 + 1000 * number as u64
}

/// The id of somebody's chat.
pub(crate) fn chat_id(number: usize) -> String {
    uuid::Builder::from_unix_timestamp_millis(created_at(number), &[7; 10]).into_uuid().to_string()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl World {
    /// Starts the database, its TLS and the issuer in a thread of their own, which lives as long as the program.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let key = SigningKey::generate()?;
        let database = dynamodb::with_tables(Database::memory()?, &Template::load()?)?;
        let (served, folder_of_thread) = (database.clone(), folder.to_owned());
        let keys = json!({ "keys": [key.jwk()] });
        let (addresses, are_there) = mpsc::channel();
        thread::spawn(move || -> Result<()> {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let plain = listener.local_addr()?.to_string();
                let (tls, roots) = proxies::tls(plain.clone(), &folder_of_thread).await?;
                let far = proxies::delay(plain.clone(), FAR).await?;
                let issuer = TcpListener::bind("127.0.0.1:0").await?;
                let issuer_url = format!("http://{}", issuer.local_addr()?);
                let jwks = Router::new().route("/.well-known/jwks.json", get(async move || Json(keys.clone())));
                // Nobody waits for them if the program has ended.
                let _ = addresses.send((format!("http://{plain}"), tls, far, issuer_url, roots));
                tokio::try_join!(async { Ok(dynamodb::serve(listener, served).await?) }, async {
                    Ok::<_, anyhow::Error>(axum::serve(issuer, jwks).await?)
                })?;
                Ok(())
            })
        });
        let (plain, tls, far, issuer, roots) = are_there.recv().context("the database does not start")?;
        let tokens = RefCell::default();
        let world = Self { database, key, plain, tls, far, issuer, roots, folder: folder.to_owned(), tokens };
        for chats in LISTS {
            world.add_person(&owner_of(chats), chats)?;
        }
        world.add_person(WRITER, 10)?;
        Ok(world)
    }

    /// Adds somebody with a profile and chats.
    pub(crate) fn add_person(&self, user: &str, chats: usize) -> Result<()> {
        self.import("UsersTable", [profile(user)])?;
        self.import("ChatsTable", (0..chats).map(|number| chat(user, number)))
    }

    /// Adds strangers, each with a profile and a chat.
    pub(crate) fn add_strangers(&self, number: usize) -> Result<()> {
        let names: Vec<String> = (0..number).map(|number| format!("user_stranger_{number}")).collect();
        // So many at once that memory holds them.
        for names in names.chunks(10_000) {
            self.import("UsersTable", names.iter().map(|name| profile(name)))?;
            self.import("ChatsTable", names.iter().map(|name| chat(name, 0)))?;
        }
        Ok(())
    }

    fn import(&self, table: &str, items: impl IntoIterator<Item = Value>) -> Result<()> {
        let items = items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
        self.database.import_items(table, items, ImportOptions::default())?;
        Ok(())
    }

    /// All that a function finds in its environment; nothing of this machine's own but the path.
    pub(crate) fn environment(
        &self,
        contestant: Contestant,
        function: &str,
        way: Way,
    ) -> Result<Vec<(String, String)>> {
        let (own, system) = (self.roots.own.display(), self.roots.system.display());
        // Ours have only Amazon's roots built in, and so need as many here; the others have a system's.
        let bundle = if contestant == Contestant::Python { &self.roots.system } else { &self.roots.amazon }.display();
        let endpoint = match way {
            Way::Plain | Way::Jwks => &self.plain,
            Way::Tls => &self.tls,
            Way::Far => &self.far,
        };
        let mut environment = vec![
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("LANG", "en_US.UTF-8".to_owned()),
            ("TZ", ":UTC".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            ("AWS_SESSION_TOKEN", "token".to_owned()),
            ("AWS_ENDPOINT_URL", endpoint.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("CLERK_ISSUER", self.issuer.clone()),
            ("CLERK_AUTHORIZED_PARTIES", ORIGIN.to_owned()),
            ("CLERK_INSTANCE_ID", INSTANCE.to_owned()),
            ("CLERK_WEBHOOK_SIGNING_SECRET", WEBHOOK_SECRET.to_owned()),
            ("QUERY_USER", owner_of(10)),
            // What a function trusts: the untuned one by the first, ours and Python by the second, Node (whose own are
            // built in) by the third.
            ("SSL_CERT_FILE", system.to_string()),
            ("AWS_CA_BUNDLE", bundle.to_string()),
            ("NODE_EXTRA_CA_CERTS", own.to_string()),
        ];
        environment.extend(TABLES.map(|(variable, table)| (variable, table.to_owned())));
        if way != Way::Jwks {
            environment.push(("CLERK_JWT_KEY", self.key.public_key_pem()?));
        }
        Ok(environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A session token of somebody, which lives for a minute. As a browser does, it is used for a while: signing one
    /// for each request would leave a function idle between them.
    pub(crate) fn token(&self, user: &str) -> Result<String> {
        let mut tokens = self.tokens.borrow_mut();
        let now = now();
        if let Some((signed, token)) = tokens.get(user)
            && now < signed + TOKEN_USED
        {
            return Ok(token.clone());
        }
        let token = self.key.session_token(&self.issuer, user, "sess_1", now, &json!({}))?;
        tokens.insert(user.to_owned(), (now, token.clone()));
        Ok(token)
    }
}

fn profile(user: &str) -> Value {
    json!({
        "userId": { "S": user }, "email": { "S": format!("{user}@example.com") }, "firstName": { "S": "Ada" },
        "lastName": { "S": "Lovelace" }, "createdAt": { "N": "1700000000000" },
        "clerkVersion": { "S": "00000001700000000000-bench" }, "isActive": { "BOOL": true }, "banned": { "BOOL": false },
    })
}

fn chat(user: &str, number: usize) -> Value {
    let created_at = created_at(number);
    json!({
        "userId": { "S": user }, "chatId": { "S": chat_id(number) }, "title": { "S": format!("Chat {number}") },
        "createdAt": { "N": created_at.to_string() }, "updatedAt": { "N": created_at.to_string() },
        "version": { "N": "1" }, "firstVersion": { "N": "1" },
        "listPosition": { "S": format!("{created_at:015}#{}", chat_id(number)) },
        // As long as what a creation writes.
        "fingerprint": { "S": "f".repeat(22) }, "write1": { "S": "w".repeat(22) }, "write2": { "S": "" },
        "write3": { "S": "" }, "write4": { "S": "" },
    })
}

/// The signature of a webhook, as Clerk makes it.
pub(crate) fn sign(id: &str, timestamp: u64, body: &str) -> Result<String> {
    let signer = svix::webhooks::Webhook::new(WEBHOOK_SECRET)?;
    Ok(signer.sign(id, timestamp.try_into()?, body.as_bytes())?)
}
