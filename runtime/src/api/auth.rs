//! Who asks, and may they: the token's role and tenant against the route's.
//!
//! The tenant comes from the token. A token of one tenant on another's path is told that there is
//! nothing there, exactly as if there were nothing.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use portcullis_store::{Role, TokenRecord};

use crate::app::App;
use crate::clock;
use crate::problem::Problem;
use crate::token;

/// Longest text that is hashed as a token; ours have 60 characters and a few.
const TOKEN_BYTES_MAX: usize = 256;

/// A verified caller.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The token's id.
    pub token_id: TokenId,
    /// Its role.
    pub role: Role,
    /// Its org.
    pub org: Option<OrgId>,
    /// Its workspace.
    pub workspace: Option<WorkspaceId>,
}

/// Verifies the bearer token (RFC 6750 section 2.1).
///
/// # Errors
/// `unauthorized`, the same for every reason.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let refused = || Problem::new(Code::Unauthorized, "send a valid token as Authorization: Bearer pc_…");
    let hash = token::hash(bearer(headers).ok_or_else(refused)?);
    let (record, _) = app.records.get_shared::<TokenRecord>(&[hash.as_str()]).await?.ok_or_else(refused)?;
    principal(&record).ok_or_else(refused)
}

/// As [`authenticate`], from what was read before; `None` when that does not decide.
pub(super) fn known(app: &App, token: &str) -> Option<Principal> {
    let hash = token::hash(token);
    principal(&*app.records.kept::<TokenRecord>(&[hash.as_str()])?)
}

/// The one token that a request carries.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    bearer_of(value.to_str().ok()?)
}

/// The token of an `Authorization` field's value.
pub(super) fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && text.len() <= TOKEN_BYTES_MAX).then(|| text.trim())
}

/// Whose token it is; nobody's once it has expired.
fn principal(record: &TokenRecord) -> Option<Principal> {
    let expired = record.expires_at.as_deref().is_some_and(clock::has_passed);
    (!expired).then(|| Principal {
        token_id: record.token_id.clone(),
        role: record.role,
        org: record.org.clone(),
        workspace: record.workspace.clone(),
    })
}

/// Whether a caller may use a route with these path tenants.
///
/// # Errors
/// `role_not_allowed` for the wrong role; `org_not_found` or `workspace_not_found` for another's
/// tenant.
pub fn authorise(
    principal: &Principal,
    roles: &[Role],
    org: Option<&str>,
    workspace: Option<&str>,
) -> Result<(), Problem> {
    if !roles.contains(&principal.role) {
        let allowed: Vec<&str> = roles.iter().map(|r| token::role_word(*r)).collect();
        let detail = format!("this route takes a token of role {}", allowed.join(" or "));
        return Err(Problem::new(Code::RoleNotAllowed, detail));
    }
    if principal.role == Role::Platform {
        return Ok(());
    }
    if let Some(org) = org
        && principal.org.as_ref().map(OrgId::as_str) != Some(org)
    {
        return Err(Problem::plain(Code::OrgNotFound));
    }
    if let (Some(workspace), Some(own)) = (workspace, principal.workspace.as_ref())
        && own.as_str() != workspace
    {
        return Err(Problem::plain(Code::WorkspaceNotFound));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, org: Option<&str>, workspace: Option<&str>) -> Principal {
        Principal {
            token_id: TokenId::parse("tok_1").unwrap(),
            role,
            org: org.map(|o| OrgId::parse(o).unwrap()),
            workspace: workspace.map(|w| WorkspaceId::parse(w).unwrap()),
        }
    }

    #[test]
    fn a_foreign_tenant_is_not_found_and_a_wrong_role_is_told_the_right_one() {
        let code =
            |p: &Principal, roles: &[Role], org, ws| authorise(p, roles, org, ws).err().map(|p| p.code);
        let run = principal(Role::Run, Some("acme"), None);
        assert_eq!(code(&run, &[Role::Run], Some("acme"), Some("any")), None);
        assert_eq!(code(&run, &[Role::Run], Some("other"), Some("any")), Some(Code::OrgNotFound));
        assert_eq!(code(&run, &[Role::Org], Some("acme"), None), Some(Code::RoleNotAllowed));
        let bound = principal(Role::Workspace, Some("acme"), Some("main"));
        assert_eq!(code(&bound, &[Role::Workspace], Some("acme"), Some("main")), None);
        assert_eq!(
            code(&bound, &[Role::Workspace], Some("acme"), Some("other")),
            Some(Code::WorkspaceNotFound)
        );
        assert_eq!(code(&bound, &[Role::Workspace], Some("other"), Some("main")), Some(Code::OrgNotFound));
    }
}
