//! Organizations, their members, and the claims that session tokens have for them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State as Shared},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Clerk,
    routes::{ClerkError, ClerkResult, Clerks, announce, not_found},
    state::{ADMIN, MAX_MEMBERS, Membership, Organization, State, new_id, now_ms},
    webhooks,
};

/// The type of an event, and its data.
type Event = (&'static str, Value);

/// A membership in the format of Clerk's Backend API and webhooks.
pub(super) fn membership(state: &State, organization: &Organization, membership: &Membership) -> Value {
    let user = state.users.get(&membership.user_id).map(|user| {
        json!({
            "user_id": user.id, "identifier": user.email, "first_name": user.first_name, "last_name": user.last_name,
            "image_url": user.image_url, "has_image": user.image_url.is_some(),
        })
    });
    json!({
        "id": membership.id, "object": "organization_membership", "role": membership.role,
        "role_name": role_name(&membership.role), "permissions": state.permissions(&membership.role),
        "organization": organization.json(), "public_user_data": user, "public_metadata": {},
        "created_at": membership.created_at, "updated_at": membership.updated_at,
    })
}

/// The name of a role for users: `Admin` for `org:admin`.
pub(super) fn role_name(role: &str) -> String {
    let mut letters = role.trim_start_matches("org:").chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The claims `o` and `fea` of a session token in version 2, if the user is a member. `fpm` has a number for each feature in
/// `fea`, whose bits, lowest first, select its permissions from `per`.
pub(super) fn claims(state: &State, user_id: &str, organization_id: &str) -> Option<(Value, String)> {
    let membership = state.membership(organization_id, user_id)?;
    let organization = state.organizations.get(organization_id)?;
    let (mut features, mut names, mut granted) = (Vec::new(), Vec::new(), Vec::new());
    for permission in state.custom_permissions(&membership.role) {
        if let Some((feature, name)) = permission.strip_prefix("org:").and_then(|rest| rest.split_once(':')) {
            granted.push((place(&mut features, feature), place(&mut names, name)));
        }
    }
    let masks = (0..features.len()).map(|feature| {
        let bits = granted.iter().filter(|(of, _)| *of == feature);
        let bits = bits.filter_map(|(_, name)| 1_u128.checked_shl(u32::try_from(*name).ok()?));
        bits.fold(0, |mask, bit| mask | bit).to_string()
    });
    let masks: Vec<_> = masks.collect();
    let features: Vec<_> = features.iter().map(|feature| format!("o:{feature}")).collect();
    let (id, slug, role) = (&organization.id, &organization.slug, membership.role.trim_start_matches("org:"));
    let mut claim = json!({ "id": id, "slg": slug, "rol": role });
    if let (Some(claim), false) = (claim.as_object_mut(), names.is_empty()) {
        claim.extend([("per".to_owned(), names.join(",").into()), ("fpm".to_owned(), masks.join(",").into())]);
    }
    Some((claim, features.join(",")))
}

/// The place of a value in a list, to which it is added if necessary.
fn place<'a>(list: &mut Vec<&'a str>, value: &'a str) -> usize {
    list.iter().position(|one| *one == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

/// A name for URLs. None if the text has no letter and no digit.
fn slug_of(text: &str) -> Option<String> {
    let letters = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    Some(letters.collect::<Vec<_>>().join("-").to_lowercase()).filter(|slug| !slug.is_empty())
}

/// What a request says about an organization.
#[derive(Deserialize)]
pub(super) struct OrganizationBody {
    pub(super) name: Option<String>,
    pub(super) slug: Option<String>,
}

impl OrganizationBody {
    /// The slug, if the request has one.
    fn slug(&self) -> Result<Option<String>, ClerkError> {
        let Some(slug) = self.slug.as_ref().filter(|slug| !slug.is_empty()) else { return Ok(None) };
        if slug_of(slug).as_ref() == Some(slug) {
            return Ok(Some(slug.clone()));
        }
        let message = "A slug has only lowercase letters, digits and hyphens.".to_owned();
        Err(ClerkError::form("slug", "form_param_format_invalid", message))
    }
}

/// Creates an organization, whose admin is the user. The caller sends the events.
pub(super) fn create(
    clerk: &Clerk,
    body: OrganizationBody,
    user_id: &str,
) -> Result<(Organization, [Event; 2]), ClerkError> {
    let given = body.slug()?;
    let name = body.name.filter(|name| !name.is_empty()).ok_or_else(|| {
        ClerkError::form("name", "form_param_missing", "An organization must have a name.".to_owned())
    })?;
    let now = now_ms();
    let id = new_id("org");
    let slug = given.clone().or_else(|| slug_of(&name)).unwrap_or_else(|| id.replace('_', "-"));
    let mut organization =
        Organization { id, name, slug, created_by: user_id.to_owned(), created_at: now, updated_at: now };
    let member = clerk.change(|state| {
        if given.is_none() && check_slug(state, &organization).is_err() {
            organization.slug = format!("{}-{now}", organization.slug);
        }
        check_slug(state, &organization)?;
        let member = join(state, &organization, user_id, ADMIN)?;
        state.organizations.insert(organization.id.clone(), organization.clone());
        Ok::<_, ClerkError>(member)
    })??;
    let events = [("organization.created", organization.json()), ("organizationMembership.created", member)];
    Ok((organization, events))
}

/// Checks that no other organization has its slug.
fn check_slug(state: &State, organization: &Organization) -> Result<(), ClerkError> {
    let is_taken = |other: &Organization| other.slug == organization.slug && other.id != organization.id;
    if !state.organizations.values().any(is_taken) {
        return Ok(());
    }
    let message = format!("An organization has the slug {} already.", organization.slug);
    Err(ClerkError::form("slug", "form_identifier_exists", message))
}

/// Adds a user to an organization, and returns the membership.
fn join(state: &mut State, organization: &Organization, user_id: &str, role: &str) -> Result<Value, ClerkError> {
    if !state.users.contains_key(user_id) {
        return Err(not_found("user", user_id));
    }
    if state.membership(&organization.id, user_id).is_some() {
        let message = format!("The user {user_id} is a member already.");
        return Err(ClerkError::new(StatusCode::BAD_REQUEST, "already_a_member_in_organization", message));
    }
    if state.members(&organization.id).count() >= MAX_MEMBERS {
        let message = format!("An organization has at most {MAX_MEMBERS} members.");
        return Err(ClerkError::new(StatusCode::FORBIDDEN, "organization_membership_quota_exceeded", message));
    }
    let now = now_ms();
    let member = Membership {
        id: new_id("orgmem"),
        organization_id: organization.id.clone(),
        user_id: user_id.to_owned(),
        role: role.to_owned(),
        created_at: now,
        updated_at: now,
    };
    let joined = membership(state, organization, &member);
    state.memberships.insert(member.id.clone(), member);
    Ok(joined)
}

/// Changes an organization's name and slug.
pub(super) fn update(clerk: &Arc<Clerk>, id: &str, body: OrganizationBody) -> Result<Organization, ClerkError> {
    let slug = body.slug()?;
    let changed = clerk.change(|state| {
        let mut changed = state.organizations.get(id).cloned().ok_or_else(|| not_found("organization", id))?;
        changed.name = body.name.filter(|name| !name.is_empty()).unwrap_or(changed.name);
        changed.slug = slug.unwrap_or(changed.slug);
        changed.updated_at = now_ms().max(changed.updated_at + 1);
        check_slug(state, &changed)?;
        state.organizations.insert(changed.id.clone(), changed.clone());
        Ok::<_, ClerkError>(changed)
    })??;
    webhooks::send(clerk, &[("organization.updated", changed.json())])?;
    Ok(changed)
}

/// Deletes an organization with its memberships.
pub(super) fn delete(clerk: &Arc<Clerk>, id: &str) -> Result<Value, ClerkError> {
    let removed = clerk.change(|state| {
        let organization = state.organizations.get(id).cloned()?;
        let members: Vec<_> = state.members(id).map(|member| membership(state, &organization, member)).collect();
        state.memberships.retain(|_, member| member.organization_id != id);
        state.organizations.remove(id);
        Some((organization, members))
    })?;
    let (organization, members) = removed.ok_or_else(|| not_found("organization", id))?;
    let deleted = json!({ "id": id, "object": "organization", "slug": organization.slug, "deleted": true });
    let mut events: Vec<_> = members.into_iter().map(|member| ("organizationMembership.deleted", member)).collect();
    events.push(("organization.deleted", deleted.clone()));
    webhooks::send(clerk, &events)?;
    Ok(deleted)
}

/// Gives a member another role, or none to remove them. An organization keeps an admin.
pub(super) fn change_member(
    clerk: &Arc<Clerk>,
    id: &str,
    user_id: &str,
    role: Option<&str>,
) -> Result<Membership, ClerkError> {
    let (member, event) = clerk.change(|state| {
        let organization = state.organizations.get(id).cloned().ok_or_else(|| not_found("organization", id))?;
        let mut member = state.membership(id, user_id).cloned().ok_or_else(|| not_found("member", user_id))?;
        let is_other_admin = |other: &Membership| other.role == ADMIN && other.id != member.id;
        if role != Some(ADMIN) && member.role == ADMIN && !state.members(id).any(is_other_admin) {
            let message = "An organization must have an admin. Make another member an admin first.".to_owned();
            return Err(ClerkError::new(StatusCode::BAD_REQUEST, "organization_minimum_permissions_needed", message));
        }
        if let Some(role) = role {
            role.clone_into(&mut member.role);
            member.updated_at = now_ms().max(member.updated_at + 1);
            state.memberships.insert(member.id.clone(), member.clone());
        } else {
            state.memberships.remove(&member.id);
        }
        let event = membership(state, &organization, &member);
        Ok((member, event))
    })??;
    let kind = if role.is_some() { "organizationMembership.updated" } else { "organizationMembership.deleted" };
    webhooks::send(clerk, &[(kind, event)])?;
    Ok(member)
}

/// Ends all memberships of a user, for a deletion.
pub(super) fn leave_all(state: &mut State, user_id: &str) -> Vec<Value> {
    let own = state.memberships.values().filter(|member| member.user_id == user_id);
    let left =
        own.filter_map(|member| Some(membership(state, state.organizations.get(&member.organization_id)?, member)));
    let left = left.collect();
    state.memberships.retain(|_, member| member.user_id != user_id);
    left
}

#[derive(Deserialize)]
pub(super) struct NewOrganization {
    #[serde(flatten)]
    organization: OrganizationBody,
    /// The user that becomes its admin.
    created_by: String,
}

pub(super) async fn create_organization(Shared(clerk): Clerks, Json(body): Json<NewOrganization>) -> ClerkResult {
    let (organization, events) = create(&clerk, body.organization, &body.created_by)?;
    announce(&clerk, organization.json(), &events)
}

#[derive(Deserialize)]
pub(super) struct NewMember {
    user_id: String,
    role: String,
}

pub(super) async fn add_member(
    Shared(clerk): Clerks,
    Path(id): Path<String>,
    Json(NewMember { user_id, role }): Json<NewMember>,
) -> ClerkResult {
    let member = clerk.change(|state| {
        let organization = state.organizations.get(&id).cloned().ok_or_else(|| not_found("organization", &id))?;
        join(state, &organization, &user_id, &role)
    })??;
    announce(&clerk, member.clone(), &[("organizationMembership.created", member)])
}

#[cfg(test)]
mod tests {
    use super::{role_name, slug_of};

    #[test]
    fn slugs_have_the_letters_and_digits_of_the_name() {
        assert_eq!(slug_of("  Acme & Söhne, 2nd "), Some("acme-s-hne-2nd".to_owned()));
        assert_eq!(slug_of("…"), None);
    }

    #[test]
    fn roles_are_named_without_their_prefix() {
        assert_eq!([role_name("org:admin"), role_name("org:")], ["Admin", ""]);
    }
}
