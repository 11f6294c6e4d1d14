//! The functions' environment: a database with users and their chats, Clerk's key, and variables.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use dynoxide::Database;
use local::{dynamodb, template::Template};
use serde_json::json;
use signing_key::{ORIGIN, SigningKey};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
};

use crate::{
    calls,
    lambda::Function,
    network::{self, Meter, Network, Roots},
};

/// Readers have as many chats as their names say.
const READERS: [usize; 2] = [10, 100];
/// Creates, updates and deletes chats.
pub(crate) const WRITER: &str = "user_writer";
const ISSUER: &str = "https://clerk.example.com";
/// How long a token is used, in seconds. It lives for a minute.
const TOKEN_USED: u64 = 20;

pub(crate) struct Fixture {
    pub(crate) template: Template,
    key: SigningKey,
    /// The URLs of the database.
    urls: BTreeMap<Network, String>,
    roots: Roots,
    /// The capacity that requests over [`Network::Metered`] consume.
    pub(crate) meter: Meter,
    /// Serves databases and the local stack, in threads of its own.
    pub(crate) runtime: Runtime,
    pub(crate) folder: PathBuf,
    /// By user, with the time they were signed at.
    tokens: RefCell<HashMap<String, (u64, String)>>,
}

/// The user with that many chats.
pub(crate) fn reader(chats: usize) -> String {
    format!("user_{chats}")
}

/// The id of a user's chat.
pub(crate) fn chat_id(number: usize) -> String {
    uuid::Builder::from_unix_timestamp_millis(1_700_000_000_000 + number as u64, &[7; 10]).into_uuid().to_string()
}

impl Fixture {
    /// Starts the database.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let template = Template::load()?;
        let database = dynamodb::with_tables(Database::memory()?, &template)?;
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (urls, roots, meter) = runtime.block_on(serve(database.clone(), folder))?;
        let fixture = Self {
            template,
            key: SigningKey::generate()?,
            urls,
            roots,
            meter,
            runtime,
            folder: folder.to_owned(),
            tokens: RefCell::default(),
        };
        let users = fixture.tables("profile")?.find(|(variable, _)| variable == "USERS_TABLE");
        for user in READERS.map(reader) {
            let item = json!({
                "userId": { "S": user }, "email": { "S": format!("{user}@example.com") }, "firstName": { "S": "Ada" },
                "lastName": { "S": "Lovelace" }, "createdAt": { "N": "1700000000000" }, "isActive": { "BOOL": true },
                "clerkVersion": { "S": "00000001700000000000-bench" }, "banned": { "BOOL": false },
            });
            let table = users.as_ref().context("profile has the users' table")?.1.as_str();
            database.put_item(serde_json::from_value(json!({ "TableName": table, "Item": item }))?)?;
        }
        Ok(fixture)
    }

    /// Creates the users' chats by Cubby's `chats`.
    pub(crate) async fn create_chats(&self, chats: &mut Function) -> Result<()> {
        let users = READERS.map(|chats| (reader(chats), chats)).into_iter().chain([(WRITER.to_owned(), 1)]);
        for (user, number) in users {
            for chat in 0..number {
                let body = json!({ "id": chat_id(chat), "title": format!("Chat {chat}") });
                let event = calls::event(self, &user, "POST", "/chats", Some(body))?;
                let (_, answer) = chats.invoke(event).await?;
                anyhow::ensure!(answer["statusCode"] == 201, "a chat is not created: {answer}");
            }
        }
        Ok(())
    }

    /// The environment variables of a function that hold tables' names.
    pub(crate) fn tables(&self, function: &str) -> Result<impl Iterator<Item = (String, String)>> {
        let declared = self.template.functions.iter().find(|declared| declared.binary == function);
        Ok(declared.with_context(|| format!("{function} is not in the template"))?.tables.clone().into_iter())
    }

    /// The whole environment of a function.
    pub(crate) fn environment(&self, function: &str, network: Network) -> Result<Vec<(String, String)>> {
        let (user, log_group, key) = (reader(10), format!("/aws/lambda/{function}"), self.key.public_key_pem()?);
        let (own, with_amazon) = (self.roots.own.to_string_lossy(), self.roots.with_amazon.to_string_lossy());
        let variables = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "en_US.UTF-8"),
            ("TZ", ":UTC"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_ENDPOINT_URL", &self.urls[&network]),
            ("AWS_LAMBDA_FUNCTION_NAME", function),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("CLERK_ISSUER", ISSUER),
            ("CLERK_JWT_KEY", &key),
            ("CLERK_AUTHORIZED_PARTIES", ORIGIN),
            ("QUERY_USER", &user),
            // Cubby and the SDK floor trust only these roots, Node also its own.
            ("AWS_CA_BUNDLE", &with_amazon),
            ("NODE_EXTRA_CA_CERTS", &own),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(variables.into_iter().chain(self.tables(function)?).collect())
    }

    /// A user's session token. Like a browser, it uses one for a while: signing one for each request would leave a
    /// function idle in between.
    pub(crate) fn token(&self, user: &str) -> Result<String> {
        let mut tokens = self.tokens.borrow_mut();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if let Some((signed, token)) = tokens.get(user)
            && now < signed + TOKEN_USED
        {
            return Ok(token.clone());
        }
        let token = self.key.session_token(ISSUER, user, "sess_1", now, &json!({}))?;
        tokens.insert(user.to_owned(), (now, token.clone()));
        Ok(token)
    }
}

async fn serve(database: Database, folder: &Path) -> Result<(BTreeMap<Network, String>, Roots, Meter)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    dynamodb::serve(listener, database);
    let (tls, roots) = network::tls(address.clone(), folder).await?;
    let (metered, meter) = network::metered(&address).await?;
    let distant = format!("http://127.0.0.1:{}", network::proxy(address.clone(), None, network::DELAY).await?);
    let plain = format!("http://{address}");
    let urls = [(Network::Plain, plain), (Network::Tls, tls), (Network::Distant, distant), (Network::Metered, metered)];
    Ok((urls.into(), roots, meter))
}
