//! Any event is rejected or becomes a request, without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((request, _)) = api::events::request(bytes) {
        let request: lambda_http::Request = request.into();
        assert!(request.uri().path().starts_with('/'));
    }
});
