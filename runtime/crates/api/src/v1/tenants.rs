//! `/admin/org…`: orgs and workspaces.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_engine::Error;
use portcullis_engine::tenants::{self, OrgRecord, WorkspaceRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Created, Json, List, NoContent};
use crate::request::{Context, NoParameters, PageParameters, Typed};

/// An org to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateOrg {
    /// Id, which never changes.
    org: OrgId,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(max = 120))]
    display_name: Option<String>,
}

/// An org.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Org {
    org: OrgId,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// When it was created, RFC 3339.
    created_at: String,
}

impl From<OrgRecord> for Org {
    fn from(record: OrgRecord) -> Self {
        Self { org: record.org, display_name: record.display_name, created_at: record.created_at }
    }
}

/// A workspace to create.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateWorkspace {
    /// Id, which never changes.
    workspace: WorkspaceId,
    /// A name for people.
    #[serde(default)]
    #[schemars(length(max = 120))]
    display_name: Option<String>,
}

/// A workspace.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Workspace {
    org: OrgId,
    workspace: WorkspaceId,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// When it was created, RFC 3339.
    created_at: String,
}

impl From<WorkspaceRecord> for Workspace {
    fn from(record: WorkspaceRecord) -> Self {
        let WorkspaceRecord { org, workspace, display_name, created_at } = record;
        Self { org, workspace, display_name, created_at }
    }
}

pub(crate) async fn create_org(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<CreateOrg>,
) -> Result<Created<Org>, Error> {
    let record =
        tenants::create_org(context.engine(), context.caller()?, wish.org, wish.display_name).await?;
    Ok(Created { location: format!("/admin/org/{}", record.org), body: record.into() })
}

pub(crate) async fn list_orgs(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<Org>>, Error> {
    let found = tenants::list_orgs(context.engine(), context.caller()?, &page.wanted()).await?;
    Ok(List::of(found, Org::from))
}

pub(crate) async fn show_org(context: Context, _: NoParameters, (): ()) -> Result<Json<Org>, Error> {
    let record = tenants::show_org(context.engine(), context.caller()?, context.path("org")).await?;
    Ok(Json(record.into()))
}

pub(crate) async fn delete_org(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    tenants::delete_org(context.engine(), context.caller()?, context.path("org")).await?;
    Ok(NoContent)
}

pub(crate) async fn create_workspace(
    context: Context,
    _: NoParameters,
    Typed(wish): Typed<CreateWorkspace>,
) -> Result<Created<Workspace>, Error> {
    let CreateWorkspace { workspace, display_name } = wish;
    let org = context.path("org");
    let record =
        tenants::create_workspace(context.engine(), context.caller()?, org, workspace, display_name).await?;
    let location = format!("/admin/org/{}/workspace/{}", record.org, record.workspace);
    Ok(Created { location, body: record.into() })
}

pub(crate) async fn list_workspaces(
    context: Context,
    page: PageParameters,
    (): (),
) -> Result<Json<List<Workspace>>, Error> {
    let org = context.path("org");
    let found = tenants::list_workspaces(context.engine(), context.caller()?, org, &page.wanted()).await?;
    Ok(List::of(found, Workspace::from))
}

pub(crate) async fn show_workspace(
    context: Context,
    _: NoParameters,
    (): (),
) -> Result<Json<Workspace>, Error> {
    let tenant = context.tenant().await?;
    let record = tenants::show_workspace(context.engine(), context.caller()?, &tenant).await?;
    Ok(Json(record.into()))
}

pub(crate) async fn delete_workspace(context: Context, _: NoParameters, (): ()) -> Result<NoContent, Error> {
    let tenant = context.tenant().await?;
    tenants::delete_workspace(context.engine(), context.caller()?, &tenant).await?;
    Ok(NoContent)
}
