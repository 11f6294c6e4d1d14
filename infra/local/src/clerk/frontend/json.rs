//! Users, sessions, organizations, sign-ins and sign-ups in the format of the Frontend API. It has more members than that of the Backend API
//! and of webhooks.

use serde_json::{Value, json};

use super::{Browser, needs_code};
use crate::clerk::{
    organizations,
    routes::{ClerkError, token},
    state::{Membership, Organization, Session, SignIn, SignUp, State, Status, User, now_ms},
};

/// How long a code is valid, as Clerk writes it. Here it does not expire.
const CODE_LIFETIME: u64 = 10 * 60 * 1000;
/// The picture of users and organizations without one. By the name, Clerk's components know that it cannot be removed.
pub(super) const DEFAULT_PICTURE: &str = "/avatar_placeholder.svg";

fn default_picture(browser: &Browser) -> String {
    format!("{}/clerk{DEFAULT_PICTURE}", browser.origin)
}

fn picture(browser: &Browser, user: &User) -> String {
    user.image_url.clone().unwrap_or_else(|| default_picture(browser))
}

/// `base` with the members of `more`.
fn with(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

pub(super) fn user(browser: &Browser, user: &User) -> Value {
    let organizations = browser.clerk.read(|state| {
        let own = state.memberships.values().filter(|one| one.user_id == user.id);
        own.filter_map(|one| membership(browser, state, one)).collect::<Vec<_>>()
    });
    with(
        user.json(),
        json!({
            "image_url": picture(browser, user), "primary_phone_number_id": null, "primary_web3_wallet_id": null,
            "phone_numbers": [], "web3_wallets": [], "external_accounts": [], "enterprise_accounts": [], "passkeys": [],
            "organization_memberships": organizations, "password_enabled": false, "totp_enabled": false,
            "backup_code_enabled": false, "two_factor_enabled": false, "delete_self_enabled": true,
            "create_organization_enabled": true,
        }),
    )
}

pub(super) fn organization(browser: &Browser, state: &State, organization: &Organization) -> Value {
    with(
        organization.json(),
        json!({
            "image_url": default_picture(browser), "members_count": state.members(&organization.id).count(),
            "pending_invitations_count": 0,
        }),
    )
}

/// A membership. None if its organization or its user was deleted.
pub(super) fn membership(browser: &Browser, state: &State, member: &Membership) -> Option<Value> {
    let own = state.organizations.get(&member.organization_id)?;
    let user = state.users.get(&member.user_id)?;
    let frontend =
        json!({ "organization": organization(browser, state, own), "public_user_data": public_user(browser, user) });
    Some(with(organizations::membership(state, own, member), frontend))
}

/// The public part of a user.
fn public_user(browser: &Browser, user: &User) -> Value {
    json!({
        "user_id": user.id, "identifier": user.email, "first_name": user.first_name, "last_name": user.last_name,
        "image_url": picture(browser, user), "has_image": user.image_url.is_some(),
    })
}

pub(super) fn session(browser: &Browser, session: &Session, owner: &User) -> Result<Value, ClerkError> {
    let token = if session.status == Status::Active {
        json!({ "object": "token", "jwt": token(&browser.clerk, &session.id, &browser.origin)? })
    } else {
        Value::Null
    };
    let organization = session.organization.as_ref();
    let organization =
        organization.filter(|id| browser.clerk.read(|state| state.membership(id, &session.user_id).is_some()));
    Ok(with(
        session.json(),
        json!({
            "user": user(browser, owner), "public_user_data": public_user(browser, owner), "last_active_token": token,
            "last_active_at": now_ms(), "last_active_organization_id": organization, "actor": null, "tasks": null,
            "factor_verification_age": [0, -1],
        }),
    ))
}

/// A session in the list of a user's devices.
pub(super) fn activity(session: &Session) -> Value {
    let activity =
        json!({ "object": "session_activity", "id": session.id, "ip_address": "127.0.0.1", "is_mobile": false });
    with(session.json(), json!({ "last_active_at": session.updated_at, "latest_activity": activity }))
}

fn verification(status: &str) -> Value {
    json!({
        "object": "verification", "status": status, "strategy": "email_code", "attempts": 0,
        "expire_at": now_ms() + CODE_LIFETIME,
    })
}

/// A sign-in that waits for a code. Null if its user was deleted.
pub(super) fn sign_in(browser: &Browser, sign_in: &SignIn) -> Value {
    let user = browser.clerk.read(|state| state.users.get(&sign_in.user_id).cloned());
    user.map_or(Value::Null, |user| {
        let verification = sign_in.is_prepared.then(|| verification("unverified"));
        json!({
            "object": "sign_in", "id": sign_in.id, "status": "needs_first_factor", "identifier": user.email,
            "supported_identifiers": ["email_address"], "supported_second_factors": null,
            "supported_first_factors": [{
                "strategy": "email_code", "email_address_id": user.email_id(), "safe_identifier": user.email,
                "primary": true,
            }],
            "first_factor_verification": verification, "second_factor_verification": null,
            "created_session_id": null, "user_data": public_user(browser, &user),
        })
    })
}

/// A sign-in that has opened a session.
pub(super) fn signed_in(browser: &Browser, id: &str, user: &User, session_id: &str) -> Value {
    json!({
        "object": "sign_in", "id": id, "status": "complete", "identifier": user.email,
        "supported_identifiers": ["email_address"], "supported_first_factors": [], "supported_second_factors": null,
        "first_factor_verification": verification("verified"), "second_factor_verification": null,
        "created_session_id": session_id, "user_data": public_user(browser, user),
    })
}

/// A sign-up that lacks an email address or its verification.
pub(super) fn sign_up(sign_up: &SignUp) -> Value {
    sign_up_of(sign_up, false)
}

fn sign_up_of(sign_up: &SignUp, is_verified: bool) -> Value {
    let SignUp { id, email, first_name, last_name } = sign_up;
    let missing: &[&str] = if email.is_none() { &["email_address"] } else { &[] };
    let is_unverified = !is_verified && email.as_deref().is_some_and(needs_code);
    let unverified: &[&str] = if is_unverified { &["email_address"] } else { &[] };
    let verification = with(
        verification(if is_unverified { "unverified" } else { "verified" }),
        json!({
            "next_action": if is_unverified { "needs_attempt" } else { "" },
            "supported_strategies": ["email_code"],
        }),
    );
    json!({
        "object": "sign_up", "id": id, "status": "missing_requirements", "required_fields": ["email_address"],
        "optional_fields": ["first_name", "last_name"], "missing_fields": missing, "unverified_fields": unverified,
        "verifications": { "email_address": verification }, "email_address": email, "first_name": first_name,
        "last_name": last_name, "has_password": false, "unsafe_metadata": {}, "created_session_id": null,
        "created_user_id": null, "abandon_at": now_ms() + 24 * 60 * 60 * 1000,
    })
}

/// A sign-up that has created a user and a session.
pub(super) fn signed_up(sign_up: &SignUp, user: &User, session_id: &str) -> Value {
    let complete = json!({ "status": "complete", "created_user_id": user.id, "created_session_id": session_id });
    with(sign_up_of(sign_up, true), complete)
}
