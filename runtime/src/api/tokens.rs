//! `/admin/token`: tokens are made, listed and revoked. The secret is in one answer and nowhere else.

use axum::body::Body;
use http::Response;
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, TokenId, WorkspaceId};
use portcullis_core::violation::Violation;
use portcullis_store::{OrgRecord, Role, TokenIndex, TokenRecord, WorkspaceRecord, Writes};
use serde_json::{Map, Value, json};

use super::context::{Ctx, created, list, no_content, with};
use super::tenants::text;
use crate::clock;
use crate::problem::Problem;
use crate::token::{self, TokenSpec};

fn document(record: &TokenRecord) -> Value {
    let mut value = json!(record);
    if let Some(map) = value.as_object_mut() {
        map.shift_remove("hash");
    }
    value
}

/// Reads who the token is for; every breach at once.
fn spec(body: &Map<String, Value>) -> Result<TokenSpec, Problem> {
    let mut breaches = Vec::new();
    let mut field = |name: &str, max: usize| match text(body, name, max) {
        Ok(value) => value,
        Err(breach) => {
            breaches.push(breach);
            None
        }
    };
    let (role, org, workspace) = (field("role", 20), field("org", 80), field("workspace", 80));
    let (label, expires_at) = (field("label", 120), field("expires_at", 40));
    let role = role.as_deref().and_then(token::parse_role);
    if role.is_none() {
        breaches.push(Violation::new("/role", "not_in_list", "role must be platform, org, workspace or run"));
    }
    let org = org.and_then(|text| match OrgId::parse(&text) {
        Ok(org) => Some(org),
        Err(e) => {
            breaches.push(Violation::new("/org", "wrong_form", e.to_string()));
            None
        }
    });
    let workspace = workspace.and_then(|text| match WorkspaceId::parse(&text) {
        Ok(workspace) => Some(workspace),
        Err(e) => {
            breaches.push(Violation::new("/workspace", "wrong_form", e.to_string()));
            None
        }
    });
    if expires_at.as_deref().is_some_and(|t| !clock::is_time(t) || clock::has_passed(t)) {
        breaches.push(Violation::new(
            "/expires_at",
            "wrong_form",
            "expires_at must be an RFC 3339 time to come",
        ));
    }
    if let Some(role) = role {
        check_scope(role, org.is_some(), workspace.is_some(), &mut breaches);
    }
    match role {
        Some(role) if breaches.is_empty() => Ok(TokenSpec { role, org, workspace, label, expires_at }),
        _ => Err(Problem::breaches(Code::ValidationFailed, breaches)),
    }
}

fn check_scope(role: Role, has_org: bool, has_workspace: bool, breaches: &mut Vec<Violation>) {
    let needs_org = role != Role::Platform;
    if needs_org != has_org {
        let message = if needs_org { "org is required for this role" } else { "a platform token has no org" };
        breaches.push(Violation::new("/org", "scope", message));
    }
    match role {
        Role::Workspace if !has_workspace => {
            breaches.push(Violation::new("/workspace", "scope", "workspace is required for this role"));
        }
        Role::Platform | Role::Org if has_workspace => {
            breaches.push(Violation::new("/workspace", "scope", "this role has no workspace"));
        }
        _ => {}
    }
}

/// Creates a token and shows it.
pub(super) async fn create(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let body = ctx.object(&["role", "org", "workspace", "label", "expires_at"])?;
    let spec = spec(&body)?;
    let principal = ctx.principal()?;
    if principal.role == Role::Org {
        if spec.role == Role::Platform {
            return Err(
                Problem::new(Code::RoleNotAllowed, "an org token makes tokens of its own org").at("/role")
            );
        }
        if spec.org != principal.org {
            return Err(Problem::plain(Code::OrgNotFound).at("/org"));
        }
    }
    if let Some(org) = &spec.org {
        if ctx.app.records.get::<OrgRecord>(&[org.as_str()]).await?.is_none() {
            return Err(Problem::plain(Code::OrgNotFound).at("/org"));
        }
        if let Some(workspace) = &spec.workspace {
            let parts = [org.as_str(), workspace.as_str()];
            if ctx.app.records.get::<WorkspaceRecord>(&parts).await?.is_none() {
                return Err(Problem::plain(Code::WorkspaceNotFound).at("/workspace"));
            }
        }
    }
    let secret = token::generate(spec.role)?;
    let (record, writes) = token::record(&secret, spec)?;
    ctx.app.records.commit(writes).await?;
    let answer = with(document(&record), "token", json!(secret));
    Ok(created(&format!("/admin/token/{}", record.token_id), &answer))
}

/// Lists tokens: all for the platform, its own for an org.
pub(super) async fn index(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (limit, after) = ctx.page()?;
    let own = ctx.principal()?.org.clone();
    let mut entries = Vec::new();
    let mut after = after.map(str::to_owned);
    while entries.len() <= limit {
        let page = ctx.app.records.list::<TokenIndex>(&[], after.as_deref(), 500).await?;
        let Some((last, _, _)) = page.last() else {
            break;
        };
        after = Some(last.clone());
        for (_, index, _) in &page {
            let Some((record, _)) = ctx.app.records.get::<TokenRecord>(&[index.hash.as_str()]).await? else {
                continue;
            };
            if own.is_none() || record.org == own {
                entries.push(document(&record));
            }
        }
    }
    Ok(list(entries, limit))
}

/// Revokes a token.
pub(super) async fn remove(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such token");
    let id = TokenId::parse(ctx.param("id")).map_err(|_| missing())?;
    let (index, _) = ctx.app.records.get::<TokenIndex>(&[id.as_str()]).await?.ok_or_else(missing)?;
    let (record, _) =
        ctx.app.records.get::<TokenRecord>(&[index.hash.as_str()]).await?.ok_or_else(missing)?;
    let principal = ctx.principal()?;
    if principal.role == Role::Org && record.org != principal.org {
        return Err(missing());
    }
    let writes =
        Writes::new().delete::<TokenRecord>(&[index.hash.as_str()]).delete::<TokenIndex>(&[id.as_str()]);
    ctx.app.records.commit(writes).await?;
    Ok(no_content())
}
