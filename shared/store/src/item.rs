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
use serde::de::DeserializeOwned;

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
pub(crate) fn read<T: DeserializeOwned>(item: Option<&Attributes>) -> Result<T, Error> {
    let item = item.ok_or_else(|| Error::Internal("DynamoDB left out the item it was asked for".to_owned()))?;
    Ok(serde_dynamo::from_item(item.clone())?)
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a conditional write was made; that its condition failed is no error.
pub(crate) fn applied(
    result: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>,
) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(Error::from_sdk(error)),
        },
    }
}
