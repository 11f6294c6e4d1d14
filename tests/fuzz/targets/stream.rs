//! Any batch of stream records is rejected, or each of its records belongs to one user or is invalid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use store::Streams;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = Streams::new("UsersTable".to_owned(), "SessionsTable".to_owned()).read(bytes) {
        let event: Value = serde_json::from_slice(bytes).unwrap();
        let records = batch.users.iter().map(|user| user.records.len()).sum::<usize>() + batch.invalid.len();
        assert_eq!(event["Records"].as_array().map(Vec::len), Some(records));
    }
});
