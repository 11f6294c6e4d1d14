//! The organization claims of session tokens, in both of Clerk's versions.

use serde::Deserialize;
use serde_json::Value;

use crate::object::Object;

/// An organization and the user's permissions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub(crate) id: String,
    pub(crate) slug: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) permissions: Vec<String>,
}

impl Organization {
    /// Clerk's id, `org_…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The slug, its name in URLs.
    pub fn slug(&self) -> Option<&str> {
        self.slug.as_deref()
    }

    /// The user's role, for example `org:admin`.
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// The permissions, for example `org:billing:manage`.
    pub fn permissions(&self) -> &[String] {
        &self.permissions
    }

    /// Whether the role grants a permission, for example `org:billing:manage`.
    pub fn has_permission(&self, permission: &str) -> bool {
        self.permissions.iter().any(|granted| granted == permission)
    }
}

/// The organization claims of a token are malformed. They grant nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token's organization claims cannot be read")]
pub struct MalformedOrganization;

/// The claims, not parsed yet. They are parsed only on demand: most functions do not need them, and a new format of
/// Clerk's must not lock members of organizations out. Version 2 packs them into `o` and `fea`, version 1 has a claim for each.
#[derive(Clone, Deserialize)]
pub(crate) struct OrganizationClaims {
    o: Option<Value>,
    fea: Option<Value>,
    org_id: Option<Value>,
    org_slug: Option<Value>,
    org_role: Option<Value>,
    org_permissions: Option<Value>,
}

#[derive(Deserialize)]
struct Packed {
    id: String,
    slg: Option<String>,
    rol: Option<String>,
    per: Option<String>,
    fpm: Option<String>,
}

/// A claim's value, or none where it is missing or null.
fn read<'a, T: Deserialize<'a>>(claim: Option<&'a Value>) -> Result<Option<T>, MalformedOrganization> {
    claim.map_or(Ok(None), Option::deserialize).map_err(|_| MalformedOrganization)
}

impl OrganizationClaims {
    /// The organization, if the token is for one. Nothing is guessed: that could give a permission that was never granted.
    pub(crate) fn parse(&self) -> Result<Option<Organization>, MalformedOrganization> {
        if let Some(Object(packed)) = read::<Object<Packed>>(self.o.as_ref())? {
            let features: Option<&str> = read(self.fea.as_ref())?;
            let permissions = packed.permissions(features.unwrap_or_default()).ok_or(MalformedOrganization)?;
            let role = packed.rol.map(|role| format!("org:{role}"));
            return Ok(Some(Organization { id: packed.id, slug: packed.slg, role, permissions }));
        }
        let (slug, role) = (read(self.org_slug.as_ref())?, read(self.org_role.as_ref())?);
        let permissions = read(self.org_permissions.as_ref())?.unwrap_or_default();
        Ok(read(self.org_id.as_ref())?.map(|id| Organization { id, slug, role, permissions }))
    }
}

impl Packed {
    /// `fea` lists features with their scope (`o:billing`, `uo:note`), `per` the names of permissions (`read,manage`);
    /// `fpm` has a number for each feature of the organization, whose bits, lowest first, select its permissions from `per`.
    fn permissions(&self, features: &str) -> Option<Vec<String>> {
        let [names, masks] = [&self.per, &self.fpm].map(|text| text.as_deref().filter(|text| !text.is_empty()));
        let (Some(names), Some(masks)) = (names, masks) else {
            return Some(Vec::new());
        };
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let masks: Vec<u128> = masks.split(',').map(mask).collect::<Option<_>>()?;
        let features: Vec<&str> = features
            .split(',')
            .filter_map(|feature| feature.trim().split_once(':'))
            .filter(|(scope, _)| scope.contains('o'))
            .map(|(_, feature)| feature)
            .collect();
        let known = u32::try_from(names.len()).ok().and_then(|count| 1_u128.checked_shl(count)).unwrap_or(0);
        if masks.len() > features.len() || names.contains(&"") || masks.iter().any(|mask| *mask >= known) {
            return None;
        }
        let granted = features.iter().zip(masks).flat_map(|(feature, mask)| {
            let named = names.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1);
            named.map(move |(_, name)| format!("org:{feature}:{name}"))
        });
        Some(granted.collect())
    }
}

/// A number in decimal digits only: `parse` would accept a sign.
fn mask(text: &str) -> Option<u128> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(claims: Value) -> Result<Option<Organization>, MalformedOrganization> {
        serde_json::from_value::<OrganizationClaims>(claims).expect("any values fit").parse()
    }

    fn packed(fea: &str, per: &str, fpm: &str) -> Result<Option<Organization>, MalformedOrganization> {
        parse(json!({ "fea": fea, "o": { "id": "org_1", "slg": "acme", "rol": "admin", "per": per, "fpm": fpm } }))
    }

    #[test]
    fn claims_of_both_versions_are_equivalent() {
        let expected = Organization {
            id: "org_1".to_owned(),
            slug: Some("acme".to_owned()),
            role: Some("org:admin".to_owned()),
            permissions: vec!["org:billing:read".to_owned(), "org:note:read".to_owned(), "org:note:manage".to_owned()],
        };
        let first = parse(json!({
            "org_id": "org_1", "org_slug": "acme", "org_role": "org:admin",
            "org_permissions": ["org:billing:read", "org:note:read", "org:note:manage"],
        }));
        assert_eq!(first, Ok(Some(expected.clone())));
        assert_eq!(packed("o:billing,u:profile,uo:note", "read,manage", "1,3"), Ok(Some(expected)));
    }

    #[test]
    fn no_claims_mean_no_organization() {
        assert_eq!(parse(json!({})), Ok(None));
        assert_eq!(parse(json!({ "o": null, "org_id": null })), Ok(None));
    }

    #[test]
    fn masks_grant_only_their_bits() {
        let permissions =
            |fea, per, fpm| packed(fea, per, fpm).map(|found| found.expect("an organization").permissions);
        assert_eq!(permissions("o:billing", "read,manage", "0"), Ok(vec![]));
        assert_eq!(permissions("o:billing", "", ""), Ok(vec![]));
        assert_eq!(permissions("o:a,o:b", "read", "1"), Ok(vec!["org:a:read".to_owned()]));
        // The highest of sixty permissions, above what a double can count to.
        let names: Vec<String> = (0..60).map(|number| format!("p{number}")).collect();
        let highest = (1_u128 << 59).to_string();
        assert_eq!(permissions("o:a", &names.join(","), &highest), Ok(vec!["org:a:p59".to_owned()]));
    }

    #[test]
    fn permissions_are_compared_as_a_whole() {
        let organization = packed("o:billing", "manage", "1").ok().flatten().expect("an organization");
        assert!(organization.has_permission("org:billing:manage"));
        for other in ["org:billing:read", "org:billing", "billing:manage", "org:billing:manage:all", ""] {
            assert!(!organization.has_permission(other), "{other}");
        }
    }

    #[test]
    fn malformed_claims_grant_nothing() {
        for fpm in
            ["1invalid", "-1", "1.5", "+1", "0x1", " ", "1,", "2", "1,1", "99999999999999999999999999999999999999999"]
        {
            assert_eq!(packed("o:billing", "read", fpm), Err(MalformedOrganization), "{fpm}");
        }
        assert_eq!(packed("u:billing", "read", "1"), Err(MalformedOrganization), "a mask without its feature");
        assert_eq!(packed("o:billing", "read,", "1"), Err(MalformedOrganization), "a permission without a name");
        for claims in [
            json!({ "o": "org_1" }),
            json!({ "o": ["org_1", "acme", "admin", "read", "1"] }),
            json!({ "o": { "slg": "acme" } }),
            json!({ "o": { "id": "org_1", "per": { "read": true }, "fpm": "1" }, "fea": "o:billing" }),
            json!({ "o": { "id": "org_1", "per": "read", "fpm": "1" }, "fea": ["o:billing"] }),
            json!({ "org_permissions": "all" }),
            json!({ "org_id": 1 }),
        ] {
            assert_eq!(parse(claims.clone()), Err(MalformedOrganization), "{claims}");
        }
    }
}
