//! What the tables share.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput},
    types::AttributeValue,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::Error;

/// An item, or values of an expression.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Reads an item that DynamoDB was asked to answer with.
pub(crate) fn read<T: DeserializeOwned>(item: Option<Attributes>) -> Result<T, Error> {
    let item = item.ok_or_else(|| Error::Internal("DynamoDB left out the item it was asked for".to_owned()))?;
    let item = item.into_iter().map(|(name, value)| (name, value.into())).collect();
    let deserializer = serde_dynamo::Deserializer::from_attribute_value(serde_dynamo::AttributeValue::M(item));
    // Only where it is, since the error's own text quotes the value.
    serde_path_to_error::deserialize(deserializer)
        .map_err(|error| Error::Internal(format!("an item cannot be read: {}", error.path())))
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The attributes that a conditional write returned. `None` means that its condition failed, which is not an error.
pub(crate) fn applied(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>,
) -> Result<Option<Attributes>, Error> {
    match result {
        Ok(output) => Ok(Some(output.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(Error::from_sdk(error)),
        },
    }
}

/// Names one change, however often the SDK has to send it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Change(String);

impl Change {
    pub(crate) fn new() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(Uuid::now_v7()))
    }
}

impl From<&Change> for String {
    fn from(Change(name): &Change) -> Self {
        name.clone()
    }
}
