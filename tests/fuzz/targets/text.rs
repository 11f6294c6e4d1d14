//! Normalized details stay as they are when they are normalized again. A page's limit and `If-Match` are rejected or valid.

#![no_main]

use api::IfMatch;
use libfuzzer_sys::fuzz_target;
use store::{
    Limit, Precondition,
    text::{normalize_email, normalize_image_url, normalize_name},
};

fuzz_target!(|text: &str| {
    for normalize in [normalize_email, normalize_image_url, normalize_name] {
        if let Some(normal) = normalize(text) {
            assert_eq!(normalize(&normal).as_ref(), Some(&normal));
        }
    }
    if Limit::try_from(text.to_owned()).is_ok() {
        assert!((1..=100).contains(&text.parse::<u8>().unwrap()));
    }
    if let Some(IfMatch(Precondition::VersionIn(versions))) = IfMatch::parse(text) {
        assert!(versions.len() <= text.split(',').count());
    }
});
