//! The query floor: the list of one person's chats with the SDK's bare query. It asks nobody who they are.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize, de::IgnoredAny};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (config, _) = store::sdk_config("DYNAMODB");
    let (client, table, user) = (Client::new(&config), std::env::var("CHATS_TABLE")?, std::env::var("QUERY_USER")?);
    // Connects while the function starts, as ours do.
    let nobody = || AttributeValue::S("-".to_owned());
    let connected = client.get_item().table_name(&table).key("userId", nobody()).key("chatId", nobody()).send();
    connected.await?;

    let (client, table, user) = (&client, &table, &user);
    lambda_runtime::run(service_fn(async |_: LambdaEvent<IgnoredAny>| {
        let query = client
            .query()
            .table_name(table)
            .index_name("newest")
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", AttributeValue::S(user.clone()))
            .projection_expression("chatId, title, createdAt, updatedAt, version")
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(11);
        let chats: Vec<Chat> = serde_dynamo::from_items(query.send().await?.items.unwrap_or_default())?;
        let body = serde_json::to_string(&json!({ "chats": chats, "cursor": null }))?;
        let headers = json!({ "content-type": "application/json" });
        Ok::<Value, Error>(json!({ "statusCode": 200, "headers": headers, "body": body, "isBase64Encoded": false }))
    }))
    .await
}
