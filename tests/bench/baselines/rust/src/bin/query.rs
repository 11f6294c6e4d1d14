//! The SDK floor: one user's list of chats by the SDK's bare query, or a chat by its bare `GetItem`, without
//! authentication.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Chat {
    #[serde(rename(deserialize = "chatId"))]
    id: String,
    title: String,
    created_at: u64,
    updated_at: u64,
    version: u64,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "rawPath")]
    path: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, _) = aws::sdk_config("DYNAMODB", |name| std::env::var(name).ok());
    let (client, table, user) = (Client::new(&config), std::env::var("CHATS_TABLE")?, std::env::var("QUERY_USER")?);
    let query = |user: String| {
        let query = client.query().table_name(&table).index_name("newest").key_condition_expression("userId = :user");
        query
            .expression_attribute_values(":user", AttributeValue::S(user))
            .consistent_read(true)
            .scan_index_forward(false)
    };
    let attributes = "chatId, title, createdAt, updatedAt, version";
    // Connects while the function starts, as Cubby does.
    query("-".to_owned()).limit(1).send().await?;

    lambda_runtime::run(service_fn(async |event: LambdaEvent<Event>| {
        let body = if let Some(id) = event.payload.path.strip_prefix("/chats/") {
            let get = client.get_item().table_name(&table).projection_expression(attributes).consistent_read(true);
            let get =
                get.key("userId", AttributeValue::S(user.clone())).key("chatId", AttributeValue::S(id.to_owned()));
            let chat: Option<Chat> = get.send().await?.item.map(serde_dynamo::from_item).transpose()?;
            serde_json::to_string(&chat)?
        } else {
            let query = query(user.clone()).projection_expression(attributes).limit(11);
            let chats: Vec<Chat> = serde_dynamo::from_items(query.send().await?.items.unwrap_or_default())?;
            serde_json::to_string(&json!({ "chats": chats, "cursor": null }))?
        };
        let headers = json!({ "content-type": "application/json" });
        Ok::<Value, Error>(json!({ "statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": false }))
    }))
    .await
}
