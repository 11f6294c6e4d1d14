//! The properties of every accepted token, computed without the verifier, for the property test and the fuzz target.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use clerk_auth::Identity;
use serde_json::{Map, Value};

pub(crate) const ISSUER: &str = "https://clerk.example.com";
/// Now, in seconds since the epoch.
pub(crate) const NOW: u32 = 1_800_000_000;

/// Asserts that a token of these parts was rightly accepted, by a verifier of [`ISSUER`] without further settings.
pub(crate) fn assert_acceptable(identity: &Identity, header: &[u8], claims: &[u8]) {
    let [header, claims] = [header, claims].map(|part| serde_json::from_slice::<Map<String, Value>>(part).unwrap());
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap());

    assert_eq!(header["alg"], "RS256");
    assert!(!header.contains_key("crit") && header.get("typ").is_none_or(|typ| typ == "JWT"));
    assert!(header.get("cat").is_none_or(|category| category == "cl_B7d4PD111AAA"));

    assert_eq!(text("iss").unwrap().to_ascii_lowercase().trim_end_matches('/').trim_end_matches(":443"), ISSUER);
    assert_eq!((text("sub"), text("sid")), (Some(identity.user_id()), identity.session_id()));
    let session = text("sid").unwrap();
    assert!([identity.user_id(), session].iter().all(|id| (1..=256).contains(&id.len())));
    assert!(!identity.user_id().starts_with("mch_"));
    assert!(text("sts").is_none_or(|status| status == "active"));

    let (now, expires, issued) = (f64::from(NOW), seconds("exp").unwrap(), seconds("iat").unwrap());
    assert!(expires > now - 5.0 && issued <= now + 5.0 && expires - issued <= 120.0);
    assert!(seconds("nbf").is_none_or(|not_before| not_before <= now + 5.0));

    let actor = claims.get("act").filter(|actor| !actor.is_null());
    assert_eq!(actor.map(|actor| clerk_auth::user_tag(actor["sub"].as_str().unwrap())), identity.actor_tag());
    for (claim, value) in
        [("email", identity.email()), ("firstName", identity.first_name()), ("lastName", identity.last_name())]
    {
        assert_eq!(text(claim).map(str::trim).filter(|text| !text.is_empty()), value);
    }
    if let Ok(Some(organization)) = identity.organization() {
        let claimed =
            claims.get("o").filter(|packed| !packed.is_null()).map_or_else(|| &claims["org_id"], |o| &o["id"]);
        assert_eq!(claimed, organization.id());
    }
}
