//! This verifier and Clerk's own verify the same thousands of generated tokens, valid and invalid.
//!
//! A token that Clerk rejects must be rejected here. A token that only this verifier rejects must have a reason in
//! [`STRICTER`], and each of those must be the only reason for at least one rejection, so that the list is exact.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails where something is missing"
)]

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{Config, Identity, TokenError, Verifier, VerifyError};
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use signing_key::SigningKey;
use torture::Campaign;

const ISSUER: &str = "https://clerk.example.com";
const PARTY: &str = "https://app.example.com";
const AUDIENCE: &str = "notes";
/// Now, in seconds since the epoch.
const NOW: u64 = 1_800_000_000;
/// Tokens made at random, beside those with one of the listed changes each.
const RANDOM_TOKENS: u64 = 3000;
/// How many of them Clerk's verifier gets at once.
const BATCH: usize = 3000;

/// The configuration of both verifiers.
struct Settings {
    parties: bool,
    audience: bool,
}

const SETTINGS: [Settings; 4] = [
    Settings { parties: false, audience: false },
    Settings { parties: true, audience: false },
    Settings { parties: false, audience: true },
    Settings { parties: true, audience: true },
];

impl Settings {
    fn ours(&self, pem: &str) -> Verifier {
        let var = |name: &str| match name {
            "CLERK_ISSUER" => Some(ISSUER.to_owned()),
            "CLERK_JWT_KEY" => Some(pem.to_owned()),
            "CLERK_AUTHORIZED_PARTIES" => self.parties.then(|| PARTY.to_owned()),
            "CLERK_AUDIENCE" => self.audience.then(|| AUDIENCE.to_owned()),
            _ => None,
        };
        Verifier::new(Config::from_env(var).expect("the settings are right"))
    }

    /// The options of Clerk's `verifyToken`. It has none for the issuer.
    fn clerks(&self, pem: &str) -> Value {
        let mut options = json!({ "jwtKey": pem });
        if self.parties {
            options["authorizedParties"] = json!([PARTY]);
        }
        if self.audience {
            options["audience"] = json!(AUDIENCE);
        }
        options
    }
}

/// A reason to reject a token that Clerk accepts.
struct Stricter {
    name: &'static str,
    description: &'static str,
    /// Whether it is the reason for this error of this token with these settings.
    explains: fn(&Token, &Settings, TokenError) -> bool,
}

/// All reasons. A rejection that none of them explains fails the test.
const STRICTER: &[Stricter] = &[
    Stricter {
        name: "issuer",
        description: "`iss` is missing or not the configured instance. `verifyToken` does not check it.",
        explains: |token, _, error| {
            let issuer = token.claims.get("iss").and_then(Value::as_str);
            let ours = issuer.is_some_and(|iss| {
                let iss = iss.strip_suffix('/').unwrap_or(iss);
                [ISSUER, "https://CLERK.example.com", "https://clerk.example.com:443"].contains(&iss)
            });
            !ours && error == if issuer.is_some() { TokenError::WrongIssuer } else { TokenError::Malformed }
        },
    },
    Stricter {
        name: "subject",
        description: "`sub` is empty or longer than 256 bytes.",
        explains: |token, _, error| error == TokenError::Malformed && id_without_use(&token.claims, "sub"),
    },
    Stricter {
        name: "machine",
        description: "`sub` is a machine (`mch_…`), in a token of another category than that of machines.",
        explains: |token, _, error| {
            error == TokenError::UnsupportedTokenType
                && token.claims["sub"].as_str().is_some_and(|sub| sub.starts_with("mch_"))
        },
    },
    Stricter {
        name: "session id",
        description: "`sid` is present, but empty, longer than 256 bytes or not a string.",
        explains: |token, _, error| {
            let sid = &token.claims;
            error == TokenError::Malformed && (not_text(sid, "sid") || id_without_use(sid, "sid"))
        },
    },
    Stricter {
        name: "no session",
        description: "The token has no session (no `sid`, or the category of JWT templates), and no audience is \
                      configured.",
        explains: |token, settings, error| {
            let template = token.header.get("cat").is_some_and(|cat| cat == "cl_B7d4PD222AAA");
            error == TokenError::UnsupportedTokenType
                && !settings.audience
                && (template || !token.claims.contains_key("sid"))
        },
    },
    Stricter {
        name: "category",
        description: "The header's `cat` names a category that is neither session nor JWT template.",
        explains: |token, _, error| {
            let known = ["cl_B7d4PD111AAA", "cl_B7d4PD222AAA"];
            let category = token.header.get("cat").and_then(Value::as_str);
            error == TokenError::UnsupportedTokenType && category.is_some_and(|category| !known.contains(&category))
        },
    },
    Stricter {
        name: "critical extensions",
        description: "The header has `crit`. RFC 7515 requires verifiers that do not support the extension to \
                      reject it.",
        explains: |token, _, error| error == TokenError::UnsupportedHeader && token.header.contains_key("crit"),
    },
    Stricter {
        name: "key id and category of a wrong type",
        description: "The header's `kid` or `cat` is present, but not a string.",
        explains: |token, _, error| {
            error == TokenError::Malformed && ["kid", "cat"].iter().any(|name| not_text(&token.header, name))
        },
    },
    Stricter {
        name: "registered header of a wrong type",
        description: "A header that RFC 7515, 7516 or 8555 defines (`cty`, `jku`, `jwk`, `x5u`, `x5c`, `x5t`, \
                      `x5t#S256`, `enc`, `zip`, `url`, `nonce`) has a value that the RFC does not allow.",
        explains: |token, _, error| error == TokenError::Malformed && registered_header_of_wrong_type(&token.header),
    },
    Stricter {
        name: "no audience",
        description: "An audience is configured, and `aud` is missing or empty.",
        explains: |token, settings, error| {
            let none = match token.claims.get("aud") {
                None => true,
                Some(Value::String(one)) => one.is_empty(),
                Some(Value::Array(many)) => many.iter().all(|one| one == ""),
                Some(_) => false,
            };
            error == TokenError::WrongAudience && settings.audience && none
        },
    },
    Stricter {
        name: "audience of a wrong type",
        description: "`aud` is present, but neither a string nor a list of strings.",
        explains: |token, _, error| {
            let wrong = match token.claims.get("aud") {
                None | Some(Value::String(_)) => false,
                Some(Value::Array(many)) => !many.iter().all(Value::is_string),
                Some(_) => true,
            };
            error == TokenError::Malformed && wrong
        },
    },
    Stricter {
        name: "party of a wrong type",
        description: "`azp` is present, but not a string, even if no authorized parties are configured.",
        explains: |token, settings, error| {
            error == TokenError::Malformed && !settings.parties && not_text(&token.claims, "azp")
        },
    },
    Stricter {
        name: "pending session",
        description: "`sts` is a string other than `active`.",
        explains: |token, _, error| {
            let pending = token.claims.get("sts").is_some_and(|status| status.is_string() && status != "active");
            error == TokenError::PendingSession && pending
        },
    },
    Stricter {
        name: "status of a wrong type",
        description: "`sts` is present, but not a string.",
        explains: |token, _, error| error == TokenError::Malformed && not_text(&token.claims, "sts"),
    },
    Stricter {
        name: "profile claim of a wrong type",
        description: "`email`, `firstName` or `lastName` is neither a string nor null.",
        explains: |token, _, error| {
            let claims = ["email", "firstName", "lastName"];
            error == TokenError::Malformed && claims.iter().any(|name| neither_text_nor_null(&token.claims, name))
        },
    },
    Stricter {
        name: "actor",
        description: "`act` is present, but neither null nor an object whose `sub` is a string of 1 to 256 bytes.",
        explains: |token, _, error| error == TokenError::Malformed && actor_without_use(&token.claims),
    },
    Stricter {
        name: "lifetime",
        description: "The token has a session (`sid`), and `exp` is more than 120 s after `iat`, or `iat` is missing.",
        explains: |token, _, error| {
            let time = |name| token.claims.get(name).and_then(Value::as_f64);
            let lifetime = time("exp").unwrap_or_default() - time("iat").unwrap_or(f64::NEG_INFINITY);
            error == TokenError::LifetimeTooLong && token.claims.contains_key("sid") && lifetime > 120.0
        },
    },
    Stricter {
        name: "fractions of a second",
        description: "`nbf` or `iat` is less than a second beyond the leeway. Clerk omits fractions.",
        explains: |token, _, error| {
            let beyond = |name| {
                token.claims.get(name).and_then(Value::as_f64).is_some_and(|time| {
                    let limit = token.now.as_secs_f64() + 5.0;
                    time > limit && time.trunc() <= limit
                })
            };
            error == TokenError::NotActiveYet && (beyond("nbf") || beyond("iat"))
        },
    },
    Stricter {
        name: "times that are not dates",
        description: "`exp` is so far in the past, or `nbf` or `iat` so far in the future, that it is not a \
                      JavaScript date. Clerk's comparison accepts it.",
        explains: |token, _, error| {
            let time = |name| token.claims.get(name).and_then(Value::as_f64).unwrap_or_default();
            match error {
                TokenError::Expired => time("exp") < -LAST_DATE,
                TokenError::NotActiveYet => time("nbf") > LAST_DATE || time("iat") > LAST_DATE,
                _ => false,
            }
        },
    },
    Stricter {
        name: "duplicate member",
        description: "A member that this verifier reads is duplicated in the header or the claims. Clerk uses the \
                      last one.",
        explains: |token, _, error| {
            error == TokenError::Malformed && token.has(|spelling| matches!(spelling, Spelling::Duplicate(_)))
        },
    },
    Stricter {
        name: "not UTF-8",
        description: "The header or the claims are not UTF-8 or begin with a byte order mark.",
        explains: |token, _, error| {
            error == TokenError::Malformed
                && token.has(|spelling| matches!(spelling, Spelling::NotUtf8 | Spelling::ByteOrderMark))
        },
    },
    Stricter {
        name: "unpaired surrogate",
        description: "A string in the header or the claims has an unpaired surrogate.",
        explains: |token, _, error| {
            error == TokenError::Malformed && token.has(|spelling| *spelling == Spelling::UnpairedSurrogate)
        },
    },
    Stricter {
        name: "infinite number",
        description: "A number is too large for a double, such as `1e400`. Clerk reads infinity, so `exp` never \
                      passes.",
        explains: |token, _, error| {
            error == TokenError::Malformed && token.has(|spelling| matches!(spelling, Spelling::Infinite(_)))
        },
    },
    Stricter {
        name: "depth",
        description: "The header or the claims are nested more than 100 levels deep.",
        explains: |token, _, error| error == TokenError::Malformed && token.has(|spelling| *spelling == Spelling::Deep),
    },
    Stricter {
        name: "padding",
        description: "The signature ends in `=`, which RFC 7515 omits.",
        explains: |token, _, error| error == TokenError::Malformed && token.text.ends_with('='),
    },
    Stricter {
        name: "size",
        description: "The token is larger than 8 KiB.",
        explains: |token, _, error| error == TokenError::Malformed && token.text.len() > 8 * 1024,
    },
];

/// Registered headers that are strings.
const TEXT_HEADERS: [&str; 7] = ["cty", "jku", "x5u", "x5t", "x5t#S256", "url", "nonce"];
/// The last second of a JavaScript date.
const LAST_DATE: f64 = 8.64e12;

fn id_without_use(claims: &Map<String, Value>, name: &str) -> bool {
    claims.get(name).and_then(Value::as_str).is_some_and(|id| id.is_empty() || id.len() > 256)
}

fn not_text(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(|value| !value.is_string())
}

fn neither_text_nor_null(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).is_some_and(|value| !value.is_string() && !value.is_null())
}

fn registered_header_of_wrong_type(header: &Map<String, Value>) -> bool {
    let certificates = header.get("x5c").is_some_and(|chain| match chain {
        Value::Array(chain) => !chain.iter().all(Value::is_string),
        chain => !chain.is_null(),
    });
    // Of these, the RFCs allow only one value that the test generates: that of `zip`.
    let unknown = |name| header.get(name).is_some_and(|value| !value.is_null() && value != "DEF");
    certificates
        || ["jwk", "enc", "zip"].into_iter().any(unknown)
        || TEXT_HEADERS.iter().any(|name| neither_text_nor_null(header, name))
}

fn actor_without_use(claims: &Map<String, Value>) -> bool {
    claims.get("act").is_some_and(|act| match act {
        Value::Null => false,
        Value::Object(act) => !act.get("sub").is_some_and(Value::is_string) || id_without_use(act, "sub"),
        _ => true,
    })
}

/// A change that makes a token differ from those that Clerk issues.
#[derive(Clone, Debug)]
enum Change {
    /// A member of the header, or its absence.
    Header(&'static str, Option<Value>),
    Claim(&'static str, Option<Value>),
    HeaderWording(Spelling),
    ClaimsWording(Spelling),
    /// Signed with a key that is not the instance's.
    OtherKey,
    /// A change of the finished token.
    Damage(Damage),
}

/// A spelling of the same members that a [`Value`] cannot represent.
#[derive(Clone, Debug, PartialEq)]
enum Spelling {
    /// White space wherever JSON allows it.
    Spacious,
    /// The first letter of this member's name as an escape.
    Escaped(&'static str),
    Duplicate(&'static str),
    ByteOrderMark,
    NotUtf8,
    UnpairedSurrogate,
    /// A number that is too large, as this member.
    Infinite(&'static str),
    Deep,
    /// A list of the header's values without their names, which a parser by position accepts as the header.
    List,
    /// Other bytes.
    Instead(&'static str),
}

#[derive(Clone, Debug)]
enum Damage {
    BitFlipped(usize),
    Cut(usize),
    SignatureLonger,
    NoSignature,
    Padded,
    HeaderPadded,
    PartMissing,
    PartMore,
    Before(&'static str),
    After(&'static str),
    Nothing,
}

/// The tokens to which changes are applied.
#[derive(Clone, Copy, Debug)]
enum Base {
    Session,
    SessionWithAudience,
    Template,
}

const BASES: [Base; 3] = [Base::Session, Base::SessionWithAudience, Base::Template];

impl Base {
    fn header(self) -> Value {
        let category = if matches!(self, Self::Template) { "cl_B7d4PD222AAA" } else { "cl_B7d4PD111AAA" };
        json!({ "alg": "RS256", "typ": "JWT", "kid": "ins_1", "cat": category })
    }

    fn claims(self) -> Value {
        let common = json!({ "iss": ISSUER, "sub": "user_ada", "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60 });
        let more = match self {
            Self::Session => json!({ "sid": "sess_1", "azp": PARTY, "sts": "active", "v": 2, "fva": [0, -1] }),
            Self::SessionWithAudience => {
                json!({ "sid": "sess_1", "azp": PARTY, "sts": "active", "v": 2, "aud": AUDIENCE })
            }
            Self::Template => json!({ "aud": [AUDIENCE, "other"], "azp": PARTY, "email": "ada@example.com" }),
        };
        Value::Object(members(common).into_iter().chain(members(more)).collect())
    }
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("{value} is no object") };
    members
}

/// A token and its parts.
struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    spellings: Vec<Spelling>,
    now: Duration,
    text: String,
    /// For the message of a failure.
    changes: String,
}

impl Token {
    fn new(keys: &Keys, base: Base, changes: &[Change], now: Duration) -> Self {
        let (mut header, mut claims) = (members(base.header()), members(base.claims()));
        let (mut header_wordings, mut claims_wordings) = (Vec::new(), Vec::new());
        let mut key = &keys.instance;
        for change in changes {
            match change.clone() {
                Change::Header(name, value) => set(&mut header, name, value),
                Change::Claim(name, value) => set(&mut claims, name, value),
                Change::HeaderWording(spelling) => header_wordings.push(spelling),
                Change::ClaimsWording(spelling) => claims_wordings.push(spelling),
                Change::OtherKey => key = &keys.other,
                Change::Damage(_) => {}
            }
        }
        let [signed_header, signed_claims] = [(&header, &header_wordings), (&claims, &claims_wordings)]
            .map(|(part, spellings)| written(part, spellings));
        let mut text = key.sign_raw(&signed_header, &signed_claims).expect("signed");
        for change in changes {
            if let Change::Damage(damage) = change {
                text = damage.done_to(&text);
            }
        }
        let spellings = header_wordings.into_iter().chain(claims_wordings).collect();
        Self { header, claims, spellings, now, text, changes: format!("{base:?} at {now:?}: {changes:?}") }
    }

    fn has(&self, spelling: impl Fn(&Spelling) -> bool) -> bool {
        self.spellings.iter().any(spelling)
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
}

/// The bytes that are signed.
fn written(part: &Map<String, Value>, spellings: &[Spelling]) -> Vec<u8> {
    let mut part = part.clone();
    for spelling in spellings {
        if let Spelling::Infinite(name) = spelling {
            part.remove(*name);
        }
    }
    let mut text = json!(part).to_string().into_bytes();
    for spelling in spellings {
        let another_member = match spelling {
            Spelling::Duplicate(name) => {
                format!("\"{name}\":{},", part.get(*name).unwrap_or(&Value::Null)).into_bytes()
            }
            Spelling::Infinite(name) => format!("\"{name}\":1e400,").into_bytes(),
            Spelling::NotUtf8 => b"\"text\":\"\xff\",".to_vec(),
            Spelling::UnpairedSurrogate => br#""text":"\ud800","#.to_vec(),
            Spelling::Deep => format!(r#""lists":{}{},"#, "[".repeat(500), "]".repeat(500)).into_bytes(),
            Spelling::Spacious => {
                text = [b" \r\n\t", text.as_slice(), b"\n "].concat();
                continue;
            }
            Spelling::ByteOrderMark => {
                text = [b"\xef\xbb\xbf", text.as_slice()].concat();
                continue;
            }
            Spelling::Escaped(name) => {
                let escaped = format!("\"\\u{:04x}{}\":", name.as_bytes()[0], &name[1..]);
                let members = String::from_utf8_lossy(&text).replace(&format!("\"{name}\":"), &escaped);
                text = members.into_bytes();
                continue;
            }
            Spelling::List => {
                text = json!(["RS256", "JWT", "ins_1", "cl_B7d4PD111AAA"]).to_string().into();
                continue;
            }
            Spelling::Instead(other) => {
                text = other.as_bytes().to_vec();
                continue;
            }
        };
        if let Some(start) = text.iter().position(|byte| *byte == b'{') {
            text.splice(start + 1..=start, another_member);
        }
    }
    text
}

impl Damage {
    fn done_to(&self, token: &str) -> String {
        let message = || token.rsplit_once('.').map_or(token, |(message, _)| message);
        match self {
            // A bit of the decoded part, so that it stays base64url.
            Self::BitFlipped(bit) => {
                let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
                let part = bit % parts.len();
                if let Ok(mut bytes) = BASE64_URL_SAFE_NO_PAD.decode(&parts[part])
                    && !bytes.is_empty()
                {
                    let position = bit % (bytes.len() * 8);
                    bytes[position / 8] ^= 1 << (position % 8);
                    parts[part] = BASE64_URL_SAFE_NO_PAD.encode(bytes);
                }
                parts.join(".")
            }
            Self::Cut(length) => token.chars().take(token.chars().count().saturating_sub(*length)).collect(),
            Self::SignatureLonger => format!("{token}AAAA"),
            Self::NoSignature => format!("{}.", message()),
            Self::Padded => format!("{token}=="),
            Self::HeaderPadded => token.replacen('.', "=.", 1),
            Self::PartMissing => message().to_owned(),
            Self::PartMore => format!("{token}.{}", BASE64_URL_SAFE_NO_PAD.encode("{}")),
            Self::Before(text) => format!("{text}{token}"),
            Self::After(text) => format!("{token}{text}"),
            Self::Nothing => String::new(),
        }
    }
}

/// Every change that gets a token of its own.
fn listed_changes() -> Vec<Change> {
    let headers = ["alg", "typ", "kid", "cat", "crit", "b64", "unheard", "x5c", "jwk", "enc", "zip"];
    let headers = headers.iter().chain(&TEXT_HEADERS);
    let claims = [
        "iss",
        "sub",
        "sid",
        "azp",
        "aud",
        "sts",
        "v",
        "iat",
        "nbf",
        "exp",
        "jti",
        "fva",
        "email",
        "firstName",
        "lastName",
        "userId",
        "o",
        "fea",
        "org_id",
        "org_slug",
        "org_role",
        "org_permissions",
        "act",
        "unheard",
        "__proto__",
        "constructor",
        "length",
    ];
    let mut changes = vec![Change::OtherKey];
    for name in headers {
        changes.push(Change::Header(name, None));
        changes.extend(odd_values().into_iter().map(|value| Change::Header(name, Some(value))));
    }
    for name in claims {
        changes.push(Change::Claim(name, None));
        changes.extend(odd_values().into_iter().map(|value| Change::Claim(name, Some(value))));
    }
    changes.extend(telling_headers().into_iter().map(|(name, value)| Change::Header(name, Some(value))));
    changes.extend(telling_claims().into_iter().map(|(name, value)| Change::Claim(name, Some(value))));
    changes.extend(spellings("alg", "kid").into_iter().map(Change::HeaderWording));
    changes.extend(spellings("sub", "exp").into_iter().map(Change::ClaimsWording));
    changes.extend(damages().into_iter().map(Change::Damage));
    changes
}

/// Values of every type, for any member.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("text"),
        json!([]),
        json!(["text"]),
        json!([1]),
        json!({}),
        json!({ "id": "text" }),
    ]
}

fn telling_headers() -> Vec<(&'static str, Value)> {
    let algorithms = ["none", "None", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256", "RS256 ", "toString"];
    let types = ["jwt", "JWT ", "at+jwt", "application/jwt", "JOSE"];
    let categories =
        ["cl_B7d4PD111AAA", "cl_B7d4PD222AAA", "cl_B7d4PD333AAA", "cl_B7d4PD111AA", "cl_of_a_kind_to_come"];
    let mut headers = Vec::new();
    headers.extend(algorithms.map(|alg| ("alg", json!(alg))));
    headers.extend(types.map(|typ| ("typ", json!(typ))));
    headers.extend(categories.map(|cat| ("cat", json!(cat))));
    headers.extend([
        ("typ", json!(["JWT"])),
        ("alg", json!(["RS256"])),
        ("kid", json!("ins_2")),
        ("kid", json!("../../etc/passwd")),
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("zip", json!("DEF")),
    ]);
    headers
}

fn telling_claims() -> Vec<(&'static str, Value)> {
    let mut claims = Vec::new();
    for offset in [-3600, -61, -6, -5, -4, -1, 0, 1, 4, 5, 6, 61, 3600] {
        let time = NOW.saturating_add_signed(offset);
        claims.extend(["exp", "nbf", "iat"].map(|name| (name, json!(time))));
        claims.extend(["exp", "nbf", "iat"].map(|name| (name, json!(time.to_string()))));
    }
    for time in [
        1_799_999_994.5,
        1_799_999_995.5,
        1_800_000_004.5,
        1_800_000_005.5,
        1e12,
        -1e12,
        1e13,
        -1e13,
        1e300,
        -1e300,
        -0.5,
        1e-300,
    ] {
        claims.extend(["exp", "nbf", "iat"].map(|name| (name, json!(time))));
    }
    let issuers = [
        "https://clerk.example.com/",
        "https://clerk.example.com//",
        "https://CLERK.example.com",
        "https://clerk.example.com:443",
        "https://clerk.example.com:80",
        "https://user@clerk.example.com",
        "https:/clerk.example.com",
        "https://clerk.example.co",
    ];
    claims.extend(issuers.map(|iss| ("iss", json!(iss))));
    let subjects = ["mch_1", "user_eve", "üser_\u{1f469}\u{200d}\u{1f680}", "user_\u{0}", "user_\u{202e}", " "];
    claims.extend(subjects.map(|sub| ("sub", json!(sub))));
    for name in ["sub", "sid"] {
        claims.extend([256, 257].map(|length| (name, json!("u".repeat(length)))));
    }
    let parties = [
        "https://app.example.com/",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://APP.example.com",
        "https://app.example.co",
    ];
    claims.extend(parties.map(|azp| ("azp", json!(azp))));
    let audiences = [
        json!("notes"),
        json!("note"),
        json!("notes "),
        json!("Notes"),
        json!("other"),
        json!(["notes"]),
        json!(["other", "notes"]),
        json!(["other"]),
        json!([""]),
        json!(["", "notes"]),
        json!([null]),
        json!(["notes", 1]),
        json!([1, "other"]),
        json!([["notes"]]),
        json!([["other"]]),
        json!({ "notes": "notes" }),
    ];
    claims.extend(audiences.map(|aud| ("aud", aud)));
    claims.extend(["active", "pending", "Active", "revoked"].map(|sts| ("sts", json!(sts))));
    let masks = ["0", "1", "3", "4", "1,1", "1,", "-1", "1.5", "1invalid", "99999999999999999999", " 1 ", ""];
    claims.extend(masks.map(|fpm| ("o", json!({ "id": "org_1", "slg": "acme", "per": "read,manage", "fpm": fpm }))));
    claims.extend([
        ("o", json!({ "id": "org_1", "slg": null, "rol": "admin" })),
        ("o", json!({ "id": "org_1", "rol": 1 })),
        ("o", json!(["org_1", "acme"])),
        ("fea", json!("o:billing,u:profile")),
        ("act", json!({ "sub": "user_admin" })),
        ("act", json!({ "sub": "" })),
        ("org_permissions", json!(["org:billing:read"])),
        ("padding", json!("x".repeat(8192))),
    ]);
    claims
}

/// `text` and `other` are members of the changed part.
fn spellings(text: &'static str, other: &'static str) -> Vec<Spelling> {
    let mut spellings = vec![
        Spelling::Spacious,
        Spelling::Escaped(text),
        Spelling::Duplicate(text),
        Spelling::Duplicate(other),
        Spelling::ByteOrderMark,
        Spelling::NotUtf8,
        Spelling::UnpairedSurrogate,
        Spelling::Infinite(other),
        Spelling::Infinite("number"),
        Spelling::Deep,
        Spelling::List,
    ];
    let others =
        ["", " ", "null", "1", "true", "\"text\"", "[]", "{}", "{", "[{}]", "{\"alg\":\"RS256\",}", "\u{feff}{}"];
    spellings.extend(others.map(Spelling::Instead));
    spellings
}

fn damages() -> Vec<Damage> {
    let mut damages = vec![
        Damage::SignatureLonger,
        Damage::NoSignature,
        Damage::Padded,
        Damage::HeaderPadded,
        Damage::PartMissing,
        Damage::PartMore,
        Damage::Nothing,
    ];
    damages.extend([1, 2, 3, 4, 100, 342, 343].map(Damage::Cut));
    damages.extend((0..12).map(|bit| Damage::BitFlipped(bit * 101)));
    damages.extend([" ", "\n", "Bearer ", ".", "\u{feff}", "ä"].map(Damage::Before));
    damages.extend([" ", "\n", "\0", ".", "!", "ä", "&x=1"].map(Damage::After));
    damages
}

/// One of the listed changes, or a random one.
fn change() -> impl Strategy<Value = Change> {
    let time = (select(vec!["exp", "nbf", "iat"]), -40..=40_i32)
        .prop_map(|(name, quarters)| Change::Claim(name, Some(json!(1_800_000_000.0 + f64::from(quarters) / 4.0))));
    let subject = "\\PC{1,40}".prop_map(|sub| Change::Claim("sub", Some(json!(sub))));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..4).prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    });
    let claims = ["iss", "sub", "sid", "azp", "aud", "sts", "v", "iat", "nbf", "exp", "email", "o", "org_id", "more"];
    let any_claim = (select(claims.to_vec()), value).prop_map(|(name, value)| Change::Claim(name, Some(value)));
    let damage = (0..10_000_usize).prop_map(|bit| Change::Damage(Damage::BitFlipped(bit)));
    prop_oneof![
        8 => select(listed_changes()),
        3 => time,
        2 => subject,
        2 => any_claim,
        1 => damage,
    ]
}

/// Each listed change separately.
fn listed_tokens(keys: &Keys) -> Vec<Token> {
    let begin = Duration::from_secs(NOW);
    let changes = listed_changes();
    let tokens = BASES
        .iter()
        .flat_map(|base| changes.iter().map(|change| Token::new(keys, *base, std::slice::from_ref(change), begin)));
    tokens.collect()
}

/// Random tokens: most with one change, some with several, some with none. A seed makes the same ones, except for the
/// keys.
fn random_tokens(keys: &Keys, campaign: &Campaign) -> impl Iterator<Item = Token> {
    let changes = prop_oneof![
        1 => Just(Vec::new()),
        6 => prop::collection::vec(change(), 1),
        3 => prop::collection::vec(change(), 2..=3),
    ];
    let random = (select(&BASES[..]), changes, select(vec![0, 0, 1, 250, 400, 999]));
    std::iter::from_fn(move || {
        let case = campaign.next()?;
        let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &case.seed());
        let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), seed);
        let (base, changes, fraction) = random.new_tree(&mut runner).expect("a token").current();
        let mut token = Token::new(keys, base, &changes, Duration::from_secs(NOW) + Duration::from_millis(fraction));
        token.changes = format!("{}; {case:?}", token.changes);
        Some(token)
    })
}

struct Keys {
    instance: SigningKey,
    other: SigningKey,
}

/// The result of Clerk's verifier for each token under each of [`SETTINGS`]: the subject or an error.
fn clerks_results(tokens: &[Token], pem: &str) -> Vec<Vec<Result<String, String>>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = manifest.join("../../.tools");
    let (node, package) = (tools.join("node/bin/node"), tools.join("clerk-backend"));
    assert!(
        node.exists() && package.join("installed").exists(),
        "Node or @clerk/backend is missing in .tools: run this test through `make test`, which installs them"
    );
    let mut clerk = Command::new(node)
        .arg(manifest.join("tests/differential/clerk.mjs"))
        .current_dir(package)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node starts");
    let mut stdin = clerk.stdin.take().expect("it is piped");
    let verifiers: Vec<Value> = SETTINGS.iter().map(|settings| settings.clerks(pem)).collect();
    let mut requests = vec![json!({ "verifiers": verifiers })];
    let milliseconds = |now: Duration| u64::try_from(now.as_millis()).expect("it fits");
    requests.extend(tokens.iter().map(|token| json!({ "token": token.text, "now": milliseconds(token.now) })));
    // Written concurrently with the reading, so that neither end waits for the other.
    let writing = std::thread::spawn(move || requests.iter().try_for_each(|request| writeln!(stdin, "{request}")));
    let output = clerk.wait_with_output().expect("Node ends");
    assert!(output.status.success(), "Node failed: {}", output.status);
    writing.join().expect("it does not panic").expect("Node reads it all");

    let result = |result: &Value| match (result["ok"].as_str(), result["rejected"].as_str()) {
        (Some(sub), None) => Ok(sub.to_owned()),
        (None, Some(reason)) => Err(reason.to_owned()),
        _ => panic!("{result} is neither ok nor rejected"),
    };
    let lines = String::from_utf8(output.stdout).expect("text");
    let results = lines.lines().map(|line| serde_json::from_str::<Vec<Value>>(line).expect("a list"));
    results.map(|results| results.iter().map(result).collect()).collect()
}

#[tokio::test]
async fn tokens_that_clerk_rejects_are_rejected_and_stricter_rules_are_listed() {
    let new_key = || SigningKey::generate().expect("a key");
    let keys = Keys { instance: new_key(), other: new_key() };
    let pem = keys.instance.public_key_pem().expect("it has a public half");
    let ours = SETTINGS.each_ref().map(|settings| settings.ours(&pem));
    let campaign = Campaign::new(RANDOM_TOKENS);
    let mut random = random_tokens(&keys, &campaign).peekable();
    let random = std::iter::from_fn(|| random.peek().is_some().then(|| random.by_ref().take(BATCH).collect()));
    let tokens = std::iter::once(listed_tokens(&keys)).chain(random).flat_map(|tokens| {
        let results = clerks_results(&tokens, &pem);
        assert_eq!(results.len(), tokens.len(), "results for each token");
        tokens.into_iter().zip(results)
    });

    let mut faults = Vec::new();
    let (mut verified, mut accepted, mut rejected, mut stricter) = (0, 0, 0, 0);
    let mut only_reason: BTreeMap<&str, usize> = STRICTER.iter().map(|reason| (reason.name, 0)).collect();
    for (token, results) in tokens {
        verified += 1;
        for ((settings, verifier), clerk) in SETTINGS.iter().zip(&ours).zip(results) {
            let verify = async || {
                verifier.verify(&token.text, UNIX_EPOCH + token.now).await.map_err(|error| match error {
                    VerifyError::Token(error) => error,
                    VerifyError::KeysUnavailable | VerifyError::KeyUndecided => panic!("the key was given"),
                })
            };
            let first = verify().await;
            // Now an accepted token is remembered.
            let our = verify().await;
            let user = |outcome: &Result<Identity, TokenError>| {
                outcome.as_ref().map(|identity| identity.user_id().to_owned()).map_err(|error| *error)
            };
            assert_eq!(user(&first), user(&our), "{}", token.changes);
            let Settings { parties, audience } = settings;
            let fault = match (clerk, our) {
                (Ok(theirs), Ok(ours)) => {
                    accepted += 1;
                    (theirs != ours.user_id()).then(|| format!("Clerk reads the subject {theirs:?}"))
                }
                (Err(_), Err(_)) => {
                    rejected += 1;
                    None
                }
                (Err(reason), Ok(_)) => Some(format!("only Clerk rejects it: {reason}")),
                (Ok(_), Err(error)) => {
                    stricter += 1;
                    let explains = |reason: &&Stricter| (reason.explains)(&token, settings, error);
                    let reasons: Vec<&Stricter> = STRICTER.iter().filter(explains).collect();
                    if let [reason] = reasons[..] {
                        *only_reason.entry(reason.name).or_default() += 1;
                    }
                    reasons.is_empty().then(|| format!("only we reject it, for a reason not listed: {error:?}"))
                }
            };
            faults.extend(
                fault.map(|fault| format!("{fault}; parties {parties}, audience {audience}; {}", token.changes)),
            );
        }
    }

    let document = include_str!("../../../docs/security.md");
    for Stricter { name, description, .. } in STRICTER {
        assert!(document.contains(&format!("| {name} | {description} |")), "docs/security.md lacks {name:?}");
    }
    // Tokens that only Clerk rejects come first.
    faults.sort();
    println!("{verified} tokens, each under {} settings", SETTINGS.len());
    println!("{accepted} accepted by both, {rejected} rejected by both, {stricter} rejected only here:");
    for reason in STRICTER {
        println!("| {} | {} | {}", reason.name, reason.description, only_reason[reason.name]);
    }
    assert!(faults.is_empty(), "{} faults, among them:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
    assert!(only_reason.values().all(|count| *count > 0), "a listed reason was never the only one: {only_reason:?}");
    let clerk_accepts = accepted + stricter;
    assert!(clerk_accepts < 4 * rejected && rejected < 2 * clerk_accepts, "too many valid or invalid tokens");
}
