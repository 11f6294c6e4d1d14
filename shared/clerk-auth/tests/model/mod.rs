//! The properties of every accepted token, computed without the verifier, for the property test and the fuzz target.

#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::collections::BTreeMap;

use clerk_auth::Identity;
use serde_json::{Value, value::RawValue};

pub(crate) const ISSUER: &str = "https://clerk.example.com";
/// Now, in seconds since the epoch.
pub(crate) const NOW: u32 = 1_800_000_000;

/// The members of an object, not parsed: a reader of the others does not notice a number that is too large in one of them.
struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    fn of(object: &[u8]) -> Self {
        Self(serde_json::from_slice(object).unwrap())
    }

    fn get(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(self.get(name)?.as_str()?.to_owned())
    }

    /// A member that is an object.
    fn object(&self, name: &str) -> Option<Self> {
        self.0.get(name).filter(|value| value.get() != "null").map(|value| Self::of(value.get().as_bytes()))
    }
}

/// Asserts that a token of these parts was rightly accepted, by a verifier of [`ISSUER`] without further settings.
pub(crate) fn assert_acceptable(identity: &Identity, header: &[u8], claims: &[u8]) {
    let [header, claims] = [header, claims].map(Members::of);
    let seconds = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap());

    assert_eq!(header.text("alg").unwrap(), "RS256");
    assert!(!header.0.contains_key("crit") && header.get("typ").is_none_or(|typ| typ == "JWT"));
    assert!(header.get("cat").is_none_or(|category| category == "cl_B7d4PD111AAA"));

    let issuer = claims.text("iss").unwrap().to_ascii_lowercase();
    assert_eq!(issuer.trim_end_matches('/').trim_end_matches(":443"), ISSUER);
    let [user, session] = ["sub", "sid"].map(|name| claims.text(name).unwrap());
    assert_eq!((user.as_str(), Some(session.as_str())), (identity.user_id(), identity.session_id()));
    assert!([&user, &session].iter().all(|id| (1..=256).contains(&id.len())));
    assert!(!user.starts_with("mch_"));
    assert!(claims.text("sts").is_none_or(|status| status == "active"));

    let (now, expires, issued) = (f64::from(NOW), seconds("exp").unwrap(), seconds("iat").unwrap());
    assert!(expires > now - 5.0 && issued <= now + 5.0 && expires - issued <= 120.0);
    assert!(seconds("nbf").is_none_or(|not_before| not_before <= now + 5.0));

    let actor = claims.object("act").map(|actor| clerk_auth::user_tag(&actor.text("sub").unwrap()));
    assert_eq!(actor, identity.actor_tag());
    for (claim, value) in
        [("email", identity.email()), ("firstName", identity.first_name()), ("lastName", identity.last_name())]
    {
        assert_eq!(claims.text(claim).as_deref().map(str::trim).filter(|text| !text.is_empty()), value);
    }
    if let Ok(Some(organization)) = identity.organization() {
        let claimed = claims.object("o").map_or_else(|| claims.text("org_id"), |packed| packed.text("id"));
        assert_eq!(claimed.as_deref(), Some(organization.id()));
    }
}
