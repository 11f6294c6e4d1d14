//! The settings of the instance, by which Clerk's components decide what they show.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::clerk::{routes::Clerks, state::MAX_MEMBERS};

pub(super) async fn read(State(clerk): Clerks) -> Json<Value> {
    let is_single = !clerk.read(|state| state.has_several_sessions);
    let email = json!({
        "enabled": true, "required": true, "immutable": true, "used_for_first_factor": true,
        "first_factors": ["email_code"], "used_for_second_factor": false, "second_factors": [],
        "verifications": ["email_code"], "verify_at_sign_up": true,
    });
    let other = |enabled: bool| {
        json!({
            "enabled": enabled, "required": false, "used_for_first_factor": false, "first_factors": [],
            "used_for_second_factor": false, "second_factors": [], "verifications": [], "verify_at_sign_up": false,
        })
    };
    Json(json!({
        "object": "environment", "id": "env_local", "maintenance_mode": false,
        "auth_config": { "object": "auth_config", "id": "aconf_local", "single_session_mode": is_single },
        "display_config": {
            "object": "display_config", "id": "display_config_local", "application_name": "the local stack",
            "instance_environment_type": "development", "branded": false, "show_devmode_warning": false,
            "preferred_sign_in_strategy": "otp", "theme": { "general": {} }, "home_url": "/",
            "sign_in_url": "/sign-in", "sign_up_url": "/sign-up", "user_profile_url": "/",
            "after_sign_in_url": "/", "after_sign_up_url": "/", "after_switch_session_url": "/",
            "after_sign_out_one_url": "/", "after_sign_out_all_url": "/",
        },
        "user_settings": {
            "attributes": {
                "email_address": email, "first_name": other(true), "last_name": other(true),
                "authenticator_app": other(false), "backup_code": other(false), "passkey": other(false),
                "password": other(false), "phone_number": other(false), "username": other(false),
                "web3_wallet": other(false),
            },
            "actions": { "delete_self": true, "create_organization": true },
            "sign_up": { "mode": "public", "progressive": true, "captcha_enabled": false, "legal_consent_enabled": false },
            "social": {},
        },
        "organization_settings": {
            "enabled": true, "max_allowed_memberships": MAX_MEMBERS, "force_organization_selection": false,
            "actions": { "admin_delete": true }, "slug": { "disabled": false },
            "domains": { "enabled": false, "enrollment_modes": [], "default_role": null },
        },
    }))
}
