//! DynamoDB: dynoxide's engine behind DynamoDB's own protocol, with the template's tables.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use dynoxide::{Database, DynoxideError};
use rusqlite::Connection;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use uuid::Uuid;

use crate::{
    files,
    guard::Guard,
    proxy::{Proxy, hidden_listener},
    template::{Table, Template},
};

/// The engine's file in the data folder. SQLite creates two more beside it, with the same permissions.
pub(crate) const FILES: [&str; 3] = ["dynamodb.sqlite", "dynamodb.sqlite-shm", "dynamodb.sqlite-wal"];
/// The file of the access key in the data folder, in the format of AWS's tools.
pub(crate) const CREDENTIALS: &str = "aws-credentials";
/// The secret access key. The engine does not verify signatures.
pub(crate) const SECRET_ACCESS_KEY: &str = "local";

/// The engine keeps stream records forever and scans them for each write and each poll. The index avoids the scans. The
/// trigger deletes records after an hour; DynamoDB keeps them for a day.
const STREAM_RECORDS: &str = "
    CREATE INDEX IF NOT EXISTS stream_order ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE INDEX IF NOT EXISTS stream_age ON _stream_records (created_at);
    CREATE TRIGGER IF NOT EXISTS stream_end AFTER INSERT ON _stream_records BEGIN
        DELETE FROM _stream_records WHERE created_at < NEW.created_at - 3600;
    END";

/// Opens the engine on a file, and creates the file, tables and streams that are missing.
pub fn open(file: &Path, template: &Template) -> Result<Database> {
    files::file(file)?;
    let path = file.to_str().context("the data folder's name is not UTF-8")?;
    let database = with_tables(Database::new(path)?, template)?;
    for table in &template.tables {
        stream(&database, table).with_context(|| format!("the stream of {} cannot be set", table.name))?;
    }
    Connection::open(file)?.execute_batch(STREAM_RECORDS).context("stream records cannot be indexed")?;
    Ok(database)
}

/// Gives a table the stream that the template declares, also a table of an older release.
fn stream(database: &Database, table: &Table) -> Result<()> {
    let metadata = database.get_table_metadata(&table.name)?.context("the table is missing")?;
    let view_type = metadata.stream_view_type.filter(|_| metadata.stream_enabled);
    if view_type == table.stream_view_type {
        return Ok(());
    }
    // CloudFormation omits StreamEnabled; the API requires it.
    let specification = match &table.stream_view_type {
        Some(view_type) => json!({ "StreamEnabled": true, "StreamViewType": view_type }),
        None => json!({ "StreamEnabled": false }),
    };
    let request = json!({ "TableName": table.name, "StreamSpecification": specification });
    database.update_table(serde_json::from_value(request)?)?;
    Ok(())
}

/// The id of the access key of the database in `folder`, if it exists.
pub(crate) fn access_key(folder: &Path) -> Result<Option<String>> {
    let Some(content) = files::read(&folder.join(CREDENTIALS))? else { return Ok(None) };
    let content = String::from_utf8(content).context("the credentials are not UTF-8")?;
    let mut entries = content.lines().filter_map(|line| line.split_once('='));
    let key = entries.find(|(name, _)| name.trim() == "aws_access_key_id");
    let (_, key) = key.with_context(|| format!("{CREDENTIALS} is damaged. Start once with `make run FRESH=1`"))?;
    Ok(Some(key.trim().to_owned()))
}

/// The id of the access key of the database in `folder`, or of a new one.
pub fn access_key_or_make(folder: &Path) -> Result<String> {
    if let Some(key) = access_key(folder)? {
        return Ok(key);
    }
    let key = format!("LOCAL{}", Uuid::new_v4().simple());
    let content = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_ACCESS_KEY}\n");
    files::write(&folder.join(CREDENTIALS), content.as_bytes())?;
    Ok(key)
}

/// Serves an engine to programs that have its access key, until the task is dropped or aborted. The engine itself accepts
/// every signature, and its CORS headers allow every page. `used` changes after every request, before its response is
/// sent.
pub(crate) async fn serve_guarded(
    listener: TcpListener,
    database: Database,
    access_key: String,
    used: watch::Sender<()>,
) -> Result<JoinHandle<()>> {
    let port = listener.local_addr()?.port();
    let engine = hidden_listener().await?;
    let router = Proxy::to(engine.local_addr()?).router();
    let router = router.layer(middleware::map_response_with_state(used, announce));
    let router = router.layer(middleware::from_fn_with_state(Arc::new(access_key), has_key));
    let router = Guard::programs(port).layer(router);
    let listener = listener.tap_io(|stream| {
        // Otherwise a response in two packets takes 40 ms longer: the second one waits for the delayed ACK of the first.
        let _ = stream.set_nodelay(true);
    });
    Ok(tokio::spawn(async move {
        let served = tokio::join!(dynoxide::server::serve_on(engine, database), axum::serve(listener, router));
        // Neither ends.
        drop(served);
    }))
}

/// Announces that a request may have written.
async fn announce(State(used): State<watch::Sender<()>>, response: Response) -> Response {
    used.send_replace(());
    response
}

/// Rejects requests that are not signed with the access key.
pub(crate) async fn has_key(
    State(access_key): State<Arc<String>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    if signing_key(&headers) == Some(&access_key) {
        return next.run(request).await;
    }
    let message = format!("Sign with the access key in the file {CREDENTIALS} of the local stack's data folder.");
    let body = json!({ "__type": "com.amazon.coral.service#UnrecognizedClientException", "message": message });
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], Json(body)).into_response()
}

/// The id of a request's access key (AWS Signature Version 4).
fn signing_key(headers: &HeaderMap) -> Option<&str> {
    let parameters = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let credential = parameters.split(',').find_map(|parameter| parameter.trim().strip_prefix("Credential="))?;
    credential.split('/').next()
}

/// Serves an engine without a guard until the task is dropped or aborted. For test data.
pub fn serve(listener: TcpListener, database: Database) -> JoinHandle<()> {
    tokio::spawn(dynoxide::server::serve_on(listener, database))
}

/// Creates the tables that are missing.
pub fn with_tables(database: Database, template: &Template) -> Result<Database> {
    for table in &template.tables {
        create(&database, table).with_context(|| format!("{} cannot be created", table.name))?;
    }
    Ok(database)
}

fn create(database: &Database, table: &Table) -> Result<()> {
    match database.create_table(serde_json::from_value(table.create.clone())?) {
        Ok(_) => {}
        Err(DynoxideError::ResourceInUseException(_)) => {
            let new = Database::memory()?;
            new.create_table(serde_json::from_value(table.create.clone())?)?;
            ensure!(
                keys(database, table)? == keys(&new, table)?,
                "the data folder has it with other keys or indexes than template.yaml. Start with FRESH=1 (--fresh) to \
                 begin with empty tables"
            );
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(attribute) = &table.ttl_attribute {
        let specification = json!({ "AttributeName": attribute, "Enabled": true });
        let request = json!({ "TableName": table.name, "TimeToLiveSpecification": specification });
        database.update_time_to_live(serde_json::from_value(request)?)?;
    }
    Ok(())
}

/// The keys of a table and its indexes, which cannot be changed later.
fn keys(database: &Database, table: &Table) -> Result<Option<(String, Option<String>)>> {
    let metadata = database.get_table_metadata(&table.name)?;
    Ok(metadata.map(|metadata| (metadata.key_schema, metadata.lsi_definitions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_tables_and_items() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dynamodb.sqlite");
        let template = Template::load().expect("the template is right");
        let item = json!({ "userId": { "S": "user_ada" } });
        {
            let database = open(&file, &template).expect("it opens");
            let put = json!({ "TableName": "UsersTable", "Item": item });
            database.put_item(serde_json::from_value(put).expect("a request")).expect("it is written");
        }
        let database = open(&file, &template).expect("it opens again");
        assert_eq!(database.table_count().expect("a count"), template.tables.len());
        let get = json!({ "TableName": "UsersTable", "Key": item });
        let got = database.get_item(serde_json::from_value(get).expect("a request")).expect("it is read");
        assert!(got.item.is_some());
    }

    #[test]
    fn a_table_of_an_older_release_is_an_error_with_its_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dynamodb.sqlite");
        let mut template = Template::load().expect("the template is right");
        let attribute = |name| json!({ "AttributeName": name, "AttributeType": "S" });
        let key = |name, kind| json!({ "AttributeName": name, "KeyType": kind });
        template.tables = vec![Table {
            name: "NotesTable".to_owned(),
            create: json!({
                "TableName": "NotesTable", "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [attribute("userId"), attribute("noteId")],
                "KeySchema": [key("userId", "HASH"), key("noteId", "RANGE")],
            }),
            ttl_attribute: None,
            stream_view_type: None,
        }];
        drop(open(&file, &template).expect("it opens"));
        let notes = template.tables.last_mut().expect("it was added");
        notes.create["AttributeDefinitions"] =
            json!([attribute("userId"), attribute("noteId"), attribute("listPosition")]);
        let newest = [key("userId", "HASH"), key("listPosition", "RANGE")];
        notes.create["LocalSecondaryIndexes"] =
            json!([{ "IndexName": "newest", "KeySchema": newest, "Projection": { "ProjectionType": "ALL" } }]);
        let error = open(&file, &template).err().expect("it has no index");
        let text = format!("{error:#}");
        assert!(text.contains("NotesTable") && text.contains("FRESH=1"), "{text}");
    }

    #[test]
    fn tables_of_an_older_release_get_the_streams_of_the_template() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dynamodb.sqlite");
        let mut template = Template::load().expect("the template is valid");
        for stream in [None, Some("KEYS_ONLY"), Some("KEYS_ONLY"), Some("NEW_IMAGE"), None] {
            template.tables.first_mut().expect("a table").stream_view_type = stream.map(str::to_owned);
            let table = &template.tables[0].name;
            let database = open(&file, &template).expect("it opens");
            let describe = serde_json::from_value(json!({ "TableName": table })).expect("a request");
            let described = database.describe_table(describe).expect("described").table.stream_specification;
            let described = serde_json::to_value(described).expect("JSON");
            assert_eq!(described["StreamViewType"].as_str(), stream, "{described}");
        }
    }

    #[test]
    fn streams_keep_an_hour_of_records() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dynamodb.sqlite");
        let mut template = Template::load().expect("the template is valid");
        let users = template.tables.iter_mut().find(|table| table.name == "UsersTable").expect("declared");
        users.stream_view_type = Some("KEYS_ONLY".to_owned());
        let database = open(&file, &template).expect("it opens");
        let put = |id: &str| {
            let put = json!({ "TableName": "UsersTable", "Item": { "userId": { "S": id } } });
            database.put_item(serde_json::from_value(put).expect("a request")).expect("it is written");
        };
        ["user_1", "user_2", "user_3"].into_iter().for_each(put);
        let records = Connection::open(&file).expect("it opens");
        let age = "UPDATE _stream_records SET created_at = created_at - 3601 WHERE keys_json NOT LIKE '%user_3%'";
        assert_eq!(records.execute(age, []).expect("aged"), 2);
        put("user_4");
        let count = records.query_row("SELECT COUNT(*) FROM _stream_records", [], |row| row.get::<_, usize>(0));
        assert_eq!(count.expect("counted"), 2);
    }
}
