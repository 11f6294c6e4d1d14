//! Any event is rejected or becomes a request, without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = api::events::request(bytes) {
        assert!(request.uri().path().starts_with('/'));
    }
});
