//! Parts of a request by themselves: no process, no network.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark ends where something is missing")]

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use api::{Code, Problem};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use axum::response::IntoResponse;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clerk_auth::{Config, Verifier, WebhookVerifier};
use criterion::{BatchSize, Criterion};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pem::Pem;
use serde_json::json;
use store::Cursor;

const ISSUER: &str = "https://clerk.example.com";
const ORIGIN: &str = "https://app.example.com";
const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdGhlIGJlbmNobWFyaydzIG93bi4=";

fn verification(criterion: &mut Criterion) {
    // `local` signs tokens as well, but brings a database with it, which takes a minute to compile.
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("a key");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("a key");
    let pem = pem::encode(&Pem::new("PUBLIC KEY", public.as_ref()));
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let header = Header { kid: Some("ins_1".to_owned()), ..Header::new(Algorithm::RS256) };
    // What a session token of Clerk says, in version 2.
    let claims = json!({
        "azp": ORIGIN, "exp": seconds + 60, "fva": [0, -1], "iat": seconds, "iss": ISSUER,
        "jti": "0123456789abcdef0123", "nbf": seconds - 10, "sid": "sess_1", "sts": "active", "sub": "user_1", "v": 2,
    });
    let private = pem::encode(&Pem::new("PRIVATE KEY", private.as_ref()));
    let private = EncodingKey::from_rsa_pem(private.as_bytes()).expect("a key");
    let token = jsonwebtoken::encode(&header, &claims, &private).expect("a token");
    let config = Config::from_env(|name| match name {
        "CLERK_ISSUER" => Some(ISSUER.to_owned()),
        "CLERK_JWT_KEY" => Some(pem.clone()),
        "CLERK_AUTHORIZED_PARTIES" => Some(ORIGIN.to_owned()),
        _ => None,
    });
    let verifier = Verifier::new(config.expect("it is right"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    criterion.bench_function("verification", |bencher| {
        bencher.iter(|| runtime.block_on(verifier.verify(black_box(&token), now)).expect("it verifies"));
    });

    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref()).expect("a key");
    criterion.bench_function("raw RSA verification", |bencher| {
        bencher.iter(|| key.verify_sig(black_box(message.as_bytes()), &signature).expect("it verifies"));
    });
}

fn webhook(criterion: &mut Criterion) {
    let verifier =
        WebhookVerifier::from_env(|name| (name == "CLERK_WEBHOOK_SIGNING_SECRET").then(|| SECRET.to_owned()));
    let verifier = verifier.expect("a secret");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let body = json!({
        "type": "user.updated", "object": "event", "timestamp": now * 1000,
        "data": {
            "id": "user_1", "object": "user", "first_name": "Ada", "last_name": "Lovelace", "banned": false,
            "image_url": "https://img.clerk.com/ada", "primary_email_address_id": "idn_1",
            "email_addresses": [{ "id": "idn_1", "object": "email_address", "email_address": "ada@example.com" }],
            "created_at": 1, "updated_at": 2,
        },
    })
    .to_string();
    let timestamp = i64::try_from(now).expect("soon");
    let signer = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let signature = signer.sign("msg_1", timestamp, body.as_bytes()).expect("signed");
    let mut headers = axum::http::HeaderMap::new();
    for (name, value) in
        [("svix-id", "msg_1"), ("svix-timestamp", &timestamp.to_string()), ("svix-signature", &signature)]
    {
        headers.insert(name, value.parse().expect("a header"));
    }
    criterion.bench_function("webhook verification", |bencher| {
        bencher.iter(|| verifier.verify(&headers, black_box(body.as_bytes())).expect("it verifies"));
    });
}

fn cursor(criterion: &mut Criterion) {
    let id = uuid::Uuid::now_v7();
    let text = BASE64_URL_SAFE_NO_PAD.encode([&[1], id.as_bytes().as_slice()].concat());
    criterion.bench_function("cursor, read and written", |bencher| {
        bencher.iter_batched(
            || text.clone(),
            |text| String::from(Cursor::try_from(black_box(text)).expect("a cursor")),
            BatchSize::SmallInput,
        );
    });
}

fn problem(criterion: &mut Criterion) {
    criterion.bench_function("error envelope", |bencher| {
        bencher.iter(|| Problem::new(black_box(Code::RouteNotFound), "No such path.").into_response());
    });
}

fn main() {
    // Short, instead of criterion's own three and five seconds: what runs this does so several times.
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(50)
        .nresamples(1_000);
    let mut criterion = criterion.configure_from_args();
    for part in [verification, webhook, cursor, problem] {
        part(&mut criterion);
    }
    criterion.final_summary();
}
