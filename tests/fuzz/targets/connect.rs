//! Any event of a WebSocket API is ignored or becomes a request that carries nothing but a token.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = api::connect::request(bytes) {
        assert_eq!(request.uri().path(), api::connect::PATH);
        assert!(request.headers().keys().all(|name| name == "authorization"));
    }
});
