//! The caller and what it may access. Every use case takes a [`Caller`] and checks it.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use portcullis_store::{Role, TokenRecord};

use crate::error::Error;

/// Roles for use cases of the platform only.
pub const PLATFORM: &[Role] = &[Role::Platform];
/// Roles for use cases of platform and org.
pub const PLATFORM_ORG: &[Role] = &[Role::Platform, Role::Org];
/// Roles for an org's use cases.
pub const ORG: &[Role] = &[Role::Org];
/// Roles for a workspace's use cases.
pub const WORKSPACE: &[Role] = &[Role::Workspace];
/// Roles for what a workspace sets, or its org for it.
pub const WORKSPACE_ORG: &[Role] = &[Role::Workspace, Role::Org];
/// Roles that make links with which a person connects a workspace.
pub const WORKSPACE_ORG_PLATFORM: &[Role] = &[Role::Workspace, Role::Org, Role::Platform];
/// Roles that make calls.
pub const RUN: &[Role] = &[Role::Run];
/// Roles that see what an org can call.
pub const ORG_RUN: &[Role] = &[Role::Org, Role::Run];
/// Roles that read records of runs.
pub const RUN_READERS: &[Role] = &[Role::Run, Role::Workspace, Role::Org];

/// A verified caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The API token that was presented; `None` for the operator at the command line, and in a connect session.
    pub token_id: Option<TokenId>,
    /// The connect session whose link a person used.
    pub(crate) session_id: Option<Arc<str>>,
    pub role: Role,
    pub org: Option<OrgId>,
    pub workspace: Option<WorkspaceId>,
    /// The token, where it is limited to some of what its role may call.
    pub(crate) limited: Option<Arc<TokenRecord>>,
}

impl Caller {
    /// The operator at the machine itself, who has the data directory and the master key: role `platform`.
    #[must_use]
    pub const fn operator() -> Self {
        Self {
            token_id: None,
            session_id: None,
            role: Role::Platform,
            org: None,
            workspace: None,
            limited: None,
        }
    }

    /// Whether it is the operator at the machine itself.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        matches!(self, Self { token_id: None, session_id: None, role: Role::Platform, .. })
    }

    /// The browser that claimed a connect session: it may do what concerns this workspace's connections, without an
    /// API token. What it may do of that, the session says.
    pub(crate) fn of_session(org: OrgId, workspace: WorkspaceId, session: &str) -> Self {
        let (org, workspace, session_id) = (Some(org), Some(workspace), Some(session.into()));
        Self { token_id: None, session_id, role: Role::Workspace, org, workspace, limited: None }
    }

    /// Checks the caller's role and tenant. The tenant comes from the token: for another's tenant the answer is
    /// that there is no such tenant, exactly as if it did not exist.
    ///
    /// # Errors
    /// `role_not_allowed` for the wrong role; `org_not_found` or `workspace_not_found` for another's tenant.
    pub fn authorise(&self, roles: &[Role], org: Option<&str>, workspace: Option<&str>) -> Result<(), Error> {
        if !roles.contains(&self.role) {
            let allowed: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let detail = format!("this takes a token of role {}", allowed.join(" or "));
            return Err(Error::new(Code::RoleNotAllowed, detail));
        }
        if self.role == Role::Platform {
            return Ok(());
        }
        if let Some(org) = org
            && self.org.as_ref().map(OrgId::as_str) != Some(org)
        {
            return Err(Error::plain(Code::OrgNotFound));
        }
        if let (Some(workspace), Some(own)) = (workspace, self.workspace.as_ref())
            && own.as_str() != workspace
        {
            return Err(Error::plain(Code::WorkspaceNotFound));
        }
        Ok(())
    }

    /// Whether its token covers all that its role may call.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.limited.is_none()
    }

    /// Whether its token covers a call: of this action, by this automation or by none.
    #[must_use]
    pub fn covers(&self, connector: &str, action: &str, automation: Option<&str>) -> bool {
        self.limited.as_ref().is_none_or(|token| token.grants.cover(connector, action, automation))
    }

    /// Checks that its token covers a call.
    ///
    /// # Errors
    /// `not_granted`.
    pub(crate) fn may_call(
        &self,
        connector: &str,
        action: &str,
        automation: Option<&str>,
    ) -> Result<(), Error> {
        match self.covers(connector, action, automation) {
            true => Ok(()),
            false => Err(Error::plain(Code::NotGranted)),
        }
    }

    /// What distinguishes its answers from those of other tokens: the lists that it is limited to, if it is.
    #[must_use]
    pub fn limits_text(&self) -> Option<String> {
        let token = self.limited.as_ref()?;
        Some(format!("{:?}", token.grants))
    }

    /// [`Self::authorise`] for a use case of the whole platform.
    ///
    /// # Errors
    /// `role_not_allowed`.
    pub(crate) fn platform(&self) -> Result<(), Error> {
        self.authorise(PLATFORM, None, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, org: Option<&str>, workspace: Option<&str>) -> Caller {
        Caller {
            token_id: Some(TokenId::parse("tok_1").unwrap()),
            session_id: None,
            role,
            org: org.map(|o| OrgId::parse(o).unwrap()),
            workspace: workspace.map(|w| WorkspaceId::parse(w).unwrap()),
            limited: None,
        }
    }

    #[test]
    fn a_foreign_tenant_is_not_found_and_a_wrong_role_learns_the_right_one() {
        let code =
            |caller: &Caller, roles: &[Role], org, ws| caller.authorise(roles, org, ws).err().map(|e| e.code);
        let run = caller(Role::Run, Some("acme"), None);
        assert_eq!(code(&run, RUN, Some("acme"), Some("any")), None);
        assert_eq!(code(&run, RUN, Some("other"), Some("any")), Some(Code::OrgNotFound));
        assert_eq!(code(&run, ORG, Some("acme"), None), Some(Code::RoleNotAllowed));
        let bound = caller(Role::Workspace, Some("acme"), Some("main"));
        assert_eq!(code(&bound, WORKSPACE, Some("acme"), Some("main")), None);
        assert_eq!(code(&bound, WORKSPACE, Some("acme"), Some("other")), Some(Code::WorkspaceNotFound));
        assert_eq!(code(&bound, WORKSPACE, Some("other"), Some("main")), Some(Code::OrgNotFound));
    }
}
