//! Any batch of stream records is rejected, or each of its records belongs to one user or is invalid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use store::Streams;

fuzz_target!(|bytes: &[u8]| {
    let batch = Streams::new("UsersTable".to_owned(), "SessionsTable".to_owned()).read(bytes);
    let event: Value = serde_json::from_slice(bytes).unwrap_or_default();
    // A list of the members' values without their names is read as well.
    if let (Ok(batch), Some(records)) = (batch, event["Records"].as_array()) {
        let read = batch.users.iter().map(|user| user.records.len()).sum::<usize>() + batch.invalid.len();
        assert_eq!(records.len(), read);
    }
});
