//! `/admin/org…`: orgs and workspaces.

use axum::body::Body;
use http::Response;
use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::violation::Violation;
use portcullis_store::{OrgRecord, StoreError, WorkspaceRecord, Writes};
use serde_json::{Map, Value, json};

use super::context::{Ctx, created, list, no_content, ok};
use crate::clock;
use crate::problem::Problem;
use crate::tenancy;

/// Longest display name, characters.
const NAME_CHARS_MAX: usize = 120;

/// A required id of the body.
fn id<T>(
    body: &Map<String, Value>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, portcullis_core::id::InvalidId>,
) -> Result<T, Violation> {
    let pointer = format!("/{name}");
    match body.get(name) {
        None => Err(Violation::new(pointer, "missing_field", format!("{name} is required"))),
        Some(Value::String(text)) => {
            parse(text).map_err(|e| Violation::new(pointer, "wrong_form", e.to_string()))
        }
        Some(_) => Err(Violation::new(pointer, "wrong_type", format!("{name} must be a string"))),
    }
}

/// An optional text of the body.
pub(super) fn text(
    body: &Map<String, Value>,
    name: &str,
    chars_max: usize,
) -> Result<Option<String>, Violation> {
    let pointer = format!("/{name}");
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() > chars_max => Err(Violation::new(
            pointer,
            "too_long",
            format!("{name} must have at most {chars_max} characters"),
        )),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Violation::new(pointer, "wrong_type", format!("{name} must be a string"))),
    }
}

/// Both, or every breach.
fn both<A, B>(a: Result<A, Violation>, b: Result<B, Violation>) -> Result<(A, B), Problem> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let breaches = a.err().into_iter().chain(b.err()).collect();
            Err(Problem::breaches(Code::ValidationFailed, breaches))
        }
    }
}

fn taken(error: StoreError, what: &str) -> Problem {
    match error {
        StoreError::Conflict { .. } => Problem::new(Code::AlreadyExists, format!("{what} exists")),
        other => other.into(),
    }
}

/// Creates an org.
pub(super) async fn create_org(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let body = ctx.object(&["org", "display_name"])?;
    let (org, display_name) =
        both(id(&body, "org", OrgId::parse), text(&body, "display_name", NAME_CHARS_MAX))?;
    let record = OrgRecord { org: org.clone(), display_name, created_at: clock::now() };
    if ctx.app.records.get::<OrgRecord>(&[org.as_str()]).await?.is_none() {
        // Why: a deletion that was cut off may have left something of the name's last holder.
        tenancy::clear_org(&ctx.app, &org).await?;
    }
    let writes = Writes::new().create(&[org.as_str()], &record);
    ctx.app.records.commit(writes).await.map_err(|e| taken(e, &format!("org {org}")))?;
    Ok(created(&format!("/admin/org/{org}"), &json!(record)))
}

/// Lists orgs.
pub(super) async fn orgs(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (limit, after) = ctx.page()?;
    let found = ctx.app.records.list::<OrgRecord>(&[], after, limit + 1).await?;
    Ok(list(found.iter().map(|(_, r, _)| json!(r)).collect(), limit))
}

/// Reads an org.
pub(super) async fn org(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let found = ctx.app.records.get::<OrgRecord>(&[org.as_str()]).await?;
    found.map(|(r, _)| ok(&json!(r))).ok_or_else(|| Problem::plain(Code::OrgNotFound))
}

/// Deletes an org that has no workspace, with its automations, settings and tokens.
pub(super) async fn remove_org(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    if ctx.app.records.has_any::<WorkspaceRecord>(&[org.as_str()]).await? {
        return Err(Problem::new(Code::InUse, "the org has workspaces; delete them first"));
    }
    tenancy::remove_org(&ctx.app, &org).await?;
    Ok(no_content())
}

/// Creates a workspace and its key.
pub(super) async fn create_workspace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let body = ctx.object(&["workspace", "display_name"])?;
    let (workspace, display_name) =
        both(id(&body, "workspace", WorkspaceId::parse), text(&body, "display_name", NAME_CHARS_MAX))?;
    let record = WorkspaceRecord {
        org: org.clone(),
        workspace: workspace.clone(),
        display_name,
        created_at: clock::now(),
    };
    let parts = [org.as_str(), workspace.as_str()];
    if ctx.app.records.get::<WorkspaceRecord>(&parts).await?.is_none() {
        tenancy::clear_workspace(&ctx.app, &org, &workspace).await?;
    }
    let writes = Writes::new().require_present::<OrgRecord>(&[org.as_str()]).create(&parts, &record);
    ctx.app.records.commit(writes).await.map_err(|e| taken(e, &format!("workspace {workspace}")))?;
    ctx.app.vault.ensure_workspace_key(&org, &workspace).await?;
    Ok(created(&format!("/admin/org/{org}/workspace/{workspace}"), &json!(record)))
}

/// Lists workspaces.
pub(super) async fn workspaces(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let (limit, after) = ctx.page()?;
    let found = ctx.app.records.list::<WorkspaceRecord>(&[org.as_str()], after, limit + 1).await?;
    Ok(list(found.iter().map(|(_, r, _)| json!(r)).collect(), limit))
}

/// Reads a workspace.
pub(super) async fn workspace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (org, workspace) = ctx.tenant().await?;
    let found = ctx.app.records.get::<WorkspaceRecord>(&[org.as_str(), workspace.as_str()]).await?;
    found.map(|(r, _)| ok(&json!(r))).ok_or_else(|| Problem::plain(Code::WorkspaceNotFound))
}

/// Deletes a workspace with its credentials, runs and tokens.
pub(super) async fn remove_workspace(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let (org, workspace) = ctx.tenant().await?;
    tenancy::remove_workspace(&ctx.app, &org, &workspace).await?;
    Ok(no_content())
}
