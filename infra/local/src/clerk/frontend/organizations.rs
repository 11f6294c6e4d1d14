//! The organizations of the signed-in user.

use axum::{
    Json,
    extract::{Path, Query},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Browser, Form, json};
use crate::clerk::{
    organizations::{self, OrganizationBody, change_member, role_name},
    routes::{ClerkError, ClerkResult, not_found},
    state::{ADMIN, MEMBER, Membership},
    webhooks,
};

const PROFILE: &str = "org:sys_profile:manage";
const DELETE: &str = "org:sys_profile:delete";
const MEMBERS: &str = "org:sys_memberships:manage";

/// The part of a list that a request is for.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

impl Page {
    fn of(self, items: Vec<Value>) -> Response {
        let total = items.len();
        let part = items.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX));
        let page = json!({ "data": part.collect::<Vec<_>>(), "total_count": total });
        Json(json!({ "response": page, "client": null })).into_response()
    }
}

/// A list of what the development Clerk does not have, such as invitations.
pub(super) async fn none(browser: Browser, Query(page): Query<Page>) -> ClerkResult {
    browser.current()?;
    Ok(page.of(Vec::new()))
}

/// The signed-in user's membership of an organization, which must grant a permission if one is given.
fn own(browser: &Browser, id: &str, permission: Option<&str>) -> Result<Membership, ClerkError> {
    let (_, user) = browser.current()?;
    let found = browser.clerk.read(|state| {
        let member = state.membership(id, &user.id)?.clone();
        let is_granted = permission.is_none_or(|permission| state.permissions(&member.role).contains(&permission));
        Some((member, is_granted))
    });
    match found {
        Some((member, true)) => Ok(member),
        Some((member, false)) => {
            let message = format!("The role {} does not permit this.", member.role);
            Err(ClerkError::new(StatusCode::FORBIDDEN, "missing_permission", message))
        }
        None => {
            let message = "You are not a member of this organization.".to_owned();
            Err(ClerkError::new(StatusCode::FORBIDDEN, "organization_not_found_or_unauthorized", message))
        }
    }
}

fn organization(browser: &Browser, id: &str) -> Result<Value, ClerkError> {
    let found =
        browser.clerk.read(|state| state.organizations.get(id).map(|found| json::organization(browser, state, found)));
    found.ok_or_else(|| not_found("organization", id))
}

fn body(form: &Form) -> OrganizationBody {
    OrganizationBody { name: form.text("name"), slug: form.text("slug") }
}

pub(super) async fn create(browser: Browser, form: Form) -> ClerkResult {
    let (_, user) = browser.current()?;
    let (created, events) = organizations::create(&browser.clerk, body(&form), &user.id)?;
    webhooks::send(&browser.clerk, &events)?;
    browser.respond(&organization(&browser, &created.id)?)
}

pub(super) async fn read(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    own(&browser, &id, None)?;
    Ok(Json(json!({ "response": organization(&browser, &id)?, "client": null })).into_response())
}

pub(super) async fn update(browser: Browser, Path(id): Path<String>, form: Form) -> ClerkResult {
    own(&browser, &id, Some(PROFILE))?;
    organizations::update(&browser.clerk, &id, body(&form))?;
    browser.respond(&organization(&browser, &id)?)
}

pub(super) async fn delete(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    own(&browser, &id, Some(DELETE))?;
    let deleted = organizations::delete(&browser.clerk, &id)?;
    browser.respond(&deleted)
}

/// The organizations of the user.
pub(super) async fn memberships(browser: Browser, Query(page): Query<Page>) -> ClerkResult {
    let (_, user) = browser.current()?;
    let items = browser.clerk.read(|state| {
        let own = state.memberships.values().filter(|member| member.user_id == user.id);
        own.filter_map(|member| json::membership(&browser, state, member)).collect()
    });
    Ok(page.of(items))
}

pub(super) async fn leave(browser: Browser, Path(id): Path<String>) -> ClerkResult {
    let member = own(&browser, &id, None)?;
    change_member(&browser.clerk, &id, &member.user_id, None)?;
    browser.respond(&json!({ "object": "organization_membership", "id": member.id, "deleted": true }))
}

pub(super) async fn members(browser: Browser, Path(id): Path<String>, Query(page): Query<Page>) -> ClerkResult {
    own(&browser, &id, None)?;
    let items = browser.clerk.read(|state| {
        let members = state.members(&id);
        members.filter_map(|member| json::membership(&browser, state, member)).collect()
    });
    Ok(page.of(items))
}

pub(super) async fn update_member(
    browser: Browser,
    Path((id, user_id)): Path<(String, String)>,
    form: Form,
) -> ClerkResult {
    own(&browser, &id, Some(MEMBERS))?;
    let member = change_member(&browser.clerk, &id, &user_id, Some(&form.text("role").unwrap_or_default()))?;
    respond(&browser, &member)
}

pub(super) async fn remove_member(browser: Browser, Path((id, user_id)): Path<(String, String)>) -> ClerkResult {
    own(&browser, &id, Some(MEMBERS))?;
    let member = change_member(&browser.clerk, &id, &user_id, None)?;
    respond(&browser, &member)
}

fn respond(browser: &Browser, member: &Membership) -> ClerkResult {
    let member = browser.clerk.read(|state| json::membership(browser, state, member));
    browser.respond(&member.unwrap_or_default())
}

/// The roles that a member can have, with their permissions.
pub(super) async fn roles(browser: Browser, Path(id): Path<String>, Query(page): Query<Page>) -> ClerkResult {
    own(&browser, &id, None)?;
    let items = browser.clerk.read(|state| {
        let mut roles = vec![ADMIN, MEMBER];
        roles.extend(state.roles.keys().map(String::as_str).filter(|role| ![ADMIN, MEMBER].contains(role)));
        let role = |role: &str| {
            let permissions = state.permissions(role).into_iter().map(|key| {
                json!({
                    "object": "permission", "id": key, "key": key, "name": key, "description": "", "type": "user",
                    "created_at": 0, "updated_at": 0,
                })
            });
            json!({
                "object": "role", "id": role, "key": role, "name": role_name(role), "description": "",
                "permissions": permissions.collect::<Vec<_>>(), "created_at": 0, "updated_at": 0,
            })
        };
        roles.into_iter().map(role).collect()
    });
    Ok(page.of(items))
}
