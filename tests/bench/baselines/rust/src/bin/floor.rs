//! The floor: a function that does nothing.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |_: LambdaEvent<IgnoredAny>| {
        Ok::<Value, Error>(json!({ "statusCode": 200, "headers": {}, "body": "{}", "isBase64Encoded": false }))
    }))
    .await
}
