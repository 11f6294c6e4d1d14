use api::{Body, Context, OpenApiRouter, Problem, ReadSession, WriteSession, problems, routes};
use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use store::{ProfileUpdate, Profiles, UpsertOutcome};
use utoipa::ToSchema;

use crate::details::{Email, ImageUrl, Name, unless_blank};

/// The operations of the profile.
pub fn router() -> OpenApiRouter<Context<Profiles>> {
    OpenApiRouter::new().routes(routes!(read, update))
}

problems!(ReadProblems: NotFound);
problems!(UpdateProblems: body, ClaimMismatch);

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Profile {
    /// Clerk's id of the user.
    id: String,
    /// The primary email address.
    #[schema(required)]
    email: Option<String>,
    /// The first name.
    #[schema(required)]
    first_name: Option<String>,
    /// The last name.
    #[schema(required)]
    last_name: Option<String>,
    /// The picture's URL.
    #[schema(required)]
    image_url: Option<String>,
    /// Milliseconds since the epoch: when the account was created or, until Clerk has reported it, the profile.
    created_at: u64,
    /// Milliseconds since the epoch.
    updated_at: u64,
    /// False once the account is deleted, and while it is banned.
    is_active: bool,
}

impl From<store::Profile> for Profile {
    fn from(profile: store::Profile) -> Self {
        let store::Profile { id, email, first_name, last_name, image_url, created_at, updated_at, is_active } = profile;
        Self { id, email, first_name, last_name, image_url, created_at, updated_at, is_active }
    }
}

/// User-supplied values. An omitted or blank member stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProfileChange {
    /// An email address.
    #[serde(default, deserialize_with = "unless_blank")]
    email: Option<Email>,
    /// A first name.
    #[serde(default, deserialize_with = "unless_blank")]
    first_name: Option<Name>,
    /// A last name.
    #[serde(default, deserialize_with = "unless_blank")]
    last_name: Option<Name>,
    /// The URL of a picture.
    #[serde(default, deserialize_with = "unless_blank")]
    image_url: Option<ImageUrl>,
}

impl From<ProfileChange> for ProfileUpdate {
    fn from(change: ProfileChange) -> Self {
        let ProfileChange { email, first_name, last_name, image_url } = change;
        Self {
            email: email.map(Into::into),
            first_name: first_name.map(Into::into),
            last_name: last_name.map(Into::into),
            image_url: image_url.map(Into::into),
        }
    }
}

/// The user's profile.
///
/// Clerk's webhook creates it when the user signs up. Until the webhook has arrived, `GET` returns 404, and `PATCH`
/// creates it.
#[utoipa::path(
    get, path = "/profile", operation_id = "getProfile", tag = "profile",
    responses((status = 200, description = "The profile.", body = Profile), ReadProblems)
)]
async fn read(session: ReadSession, State(profiles): State<Profiles>) -> Result<Body<Profile>, Problem> {
    let profile = profiles.get(&session).await?.ok_or_else(Problem::not_found)?;
    Ok(Body(profile.into()))
}

/// Creates or updates the user's profile.
///
/// The token's claims are values that Clerk has verified. The body fills only what Clerk has not reported yet.
#[utoipa::path(
    patch, path = "/profile", operation_id = "updateProfile", tag = "profile",
    request_body = ProfileChange,
    responses(
        (status = 201, description = "The new profile.", body = Profile),
        (status = 200, description = "The updated profile.", body = Profile),
        UpdateProblems,
    )
)]
async fn update(
    session: WriteSession,
    State(profiles): State<Profiles>,
    Body(change): Body<ProfileChange>,
) -> Result<(StatusCode, Body<Profile>), Problem> {
    Ok(match profiles.update(&session, &change.into()).await? {
        UpsertOutcome::Created(profile) => (StatusCode::CREATED, Body(profile.into())),
        UpsertOutcome::Updated(profile) => (StatusCode::OK, Body(profile.into())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_validated() {
        let good = [
            json!({}),
            json!({ "email": null }),
            json!({ "email": "", "firstName": "", "lastName": "", "imageUrl": "" }),
            json!({ "email": " ", "firstName": "\u{3000}", "lastName": "\u{200d} \t", "imageUrl": "\n" }),
            json!({ "email": " ada@example.com\t", "firstName": "👩‍🚀", "lastName": "نیم‌فاصله", "imageUrl": " https://img.example/a " }),
            json!({ "email": "ada@example.com", "firstName": " Ada ", "lastName": "Lovelace", "imageUrl": "https://img.example/a" }),
        ];
        for body in good {
            assert!(serde_json::from_value::<ProfileChange>(body.clone()).is_ok(), "{body}");
        }
        let bad = [
            json!({ "email": "ada" }),
            json!({ "email": "@example.com" }),
            json!({ "email": "ada@" }),
            json!({ "email": "ada lovelace@example.com" }),
            json!({ "email": format!("{}@example.com", "a".repeat(250)) }),
            json!({ "email": 1 }),
            json!({ "email": "ada\u{202e}@example.com" }),
            json!({ "email": "ada\u{200b}@example.com" }),
            json!({ "firstName": "Ada\u{202e}" }),
            json!({ "firstName": "\u{2066}Ada" }),
            json!({ "firstName": "A\u{200b}da" }),
            json!({ "firstName": "\u{3164}" }),
            json!({ "firstName": "\u{0}" }),
            json!({ "lastName": "a\nb" }),
            json!({ "lastName": "a\u{2028}b" }),
            json!({ "lastName": "a".repeat(201) }),
            json!({ "imageUrl": "javascript:alert(1)" }),
            json!({ "imageUrl": "http://img.example/a" }),
            json!({ "imageUrl": "a.png" }),
            json!({ "imageUrl": format!("https://img.example/{}", "a".repeat(2048)) }),
            json!({ "id": "user_eve" }),
            json!({ "isActive": true }),
        ];
        for body in bad {
            assert!(serde_json::from_value::<ProfileChange>(body.clone()).is_err(), "{body}");
        }
    }
}
