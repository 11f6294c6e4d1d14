//! Whatever JSON Lambda hands over, it is refused or becomes a request, without a panic.

#![no_main]

use lambda_http::{Body, http::Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = str::from_utf8(bytes)
        && let Ok(request) = api::events::request(event)
    {
        let request: Request<Body> = request.into();
        assert!(request.uri().path().starts_with('/'));
    }
});
