//! Orgs and workspaces: created, found, and deleted with everything they had, so that a later tenant of that name
//! starts empty.
//!
//! When a workspace is deleted its key goes first: even if the rest fails, its credentials can never be opened again.
//! The ledger stays: it is the org's proof of what happened, and contains no secret.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{
    AutomationRecord, ConnectSettings, IntegrationSettings, OrgLimitsRecord, RetentionRecord, StoreError,
    WorkspaceValuesRecord, Writes,
};
pub use portcullis_store::{OrgRecord, WorkspaceRecord};

use crate::api_token;
use crate::caller::{Caller, PLATFORM_ORG};
use crate::clock;
use crate::connect;
use crate::connection;
use crate::engine::Engine;
use crate::error::Error;
use crate::events;
use crate::idempotency;
use crate::oauth_clients;
use crate::page::{Page, PageRequest};
use crate::retention;
use crate::schedules;
use crate::webhooks;

/// An existing workspace, with its org. Only [`find_workspace`] makes one.
#[derive(Debug, Clone)]
pub struct Tenant {
    // Invariant: there was a record of that workspace when this was made.
    pub(crate) org: OrgId,
    pub(crate) workspace: WorkspaceId,
    /// The commit that made it: one of the same name that is made later has another.
    pub(crate) commit: u64,
    /// The version of the state before it was looked for.
    pub(crate) seen: u64,
}

impl Tenant {
    #[must_use]
    pub const fn org(&self) -> &OrgId {
        &self.org
    }

    #[must_use]
    pub const fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The same, for a caller who was authenticated in this version of the state: what changed since then ends its
    /// calls, also those that begin later.
    #[must_use]
    pub const fn seen_in(mut self, version: u64) -> Self {
        self.seen = version;
        self
    }
}

/// The org with that id, which exists.
///
/// # Errors
/// `org_not_found`, `store_unavailable`.
pub async fn find_org(engine: &Engine, id: &str) -> Result<OrgId, Error> {
    let missing = || Error::plain(Code::OrgNotFound);
    let org = OrgId::parse(id).map_err(|_| missing())?;
    let found = engine.resources.records.get_shared::<OrgRecord>(&[org.as_str()]).await?;
    found.map(|_| org).ok_or_else(missing)
}

/// The workspace with those ids, which exists.
///
/// # Errors
/// `org_not_found`, `workspace_not_found`, `store_unavailable`.
pub async fn find_workspace(engine: &Engine, org: &str, workspace: &str) -> Result<Tenant, Error> {
    let missing = || Error::plain(Code::WorkspaceNotFound);
    let org = OrgId::parse(org).map_err(|_| Error::plain(Code::OrgNotFound))?;
    let workspace = WorkspaceId::parse(workspace).map_err(|_| missing())?;
    let parts = [org.as_str(), workspace.as_str()];
    let seen = engine.state_version();
    let Some((_, commit)) = engine.resources.records.get_shared::<WorkspaceRecord>(&parts).await? else {
        find_org(engine, org.as_str()).await?;
        return Err(missing());
    };
    Ok(Tenant { org, workspace, commit, seen })
}

fn taken(error: StoreError, what: &str) -> Error {
    match error {
        StoreError::Conflict { .. } => Error::new(Code::AlreadyExists, format!("{what} exists")),
        other => other.into(),
    }
}

/// Creates an org.
///
/// # Errors
/// `role_not_allowed`, `already_exists`, `store_unavailable`.
pub async fn create_org(
    engine: &Engine,
    caller: &Caller,
    org: OrgId,
    display_name: Option<String>,
) -> Result<OrgRecord, Error> {
    caller.platform()?;
    if org.as_str() == webhooks::PLATFORM_LEDGER {
        let message = "is reserved: the platform's own ledger stands under it";
        return Err(Error::violation("/org", "reserved", message));
    }
    let record = OrgRecord { org: org.clone(), display_name, created_at: clock::now() };
    let resources = &engine.resources;
    if resources.records.get::<OrgRecord>(&[org.as_str()]).await?.is_none() {
        // Why: an interrupted deletion may have left something of an earlier org with this name.
        clear_org(engine, &org).await?;
    }
    let writes = Writes::new().create(&[org.as_str()], &record);
    resources.commit(writes).await.map_err(|e| taken(e, &format!("org {org}")))?;
    Ok(record)
}

/// Lists orgs.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`.
pub async fn list_orgs(
    engine: &Engine,
    caller: &Caller,
    wanted: &PageRequest,
) -> Result<Page<OrgRecord>, Error> {
    caller.platform()?;
    let found = engine.resources.records.list::<OrgRecord>(&[], wanted.after(), wanted.wanted()).await?;
    Ok(wanted.page(found.into_iter().map(|(_, record, _)| record).collect()))
}

/// Reads an org.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `store_unavailable`.
pub async fn show_org(engine: &Engine, caller: &Caller, id: &str) -> Result<OrgRecord, Error> {
    caller.platform()?;
    let org = find_org(engine, id).await?;
    let found = engine.resources.records.get::<OrgRecord>(&[org.as_str()]).await?;
    found.map(|(record, _)| record).ok_or_else(|| Error::plain(Code::OrgNotFound))
}

/// Deletes an org that has no workspace, with its automations, settings and tokens.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `in_use`, `store_unavailable`; deleting it again continues.
pub async fn delete_org(engine: &Engine, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.platform()?;
    let org = find_org(engine, id).await?;
    if engine.resources.records.has_any::<WorkspaceRecord>(&[org.as_str()]).await? {
        return Err(Error::new(Code::InUse, "the org has workspaces; delete them first"));
    }
    engine.resources.commit(Writes::new().delete::<OrgRecord>(&[org.as_str()])).await?;
    clear_org(engine, &org).await
}

/// Creates a workspace and its key.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `already_exists`, `store_unavailable`.
pub async fn create_workspace(
    engine: &Engine,
    caller: &Caller,
    org: &str,
    workspace: WorkspaceId,
    display_name: Option<String>,
) -> Result<WorkspaceRecord, Error> {
    caller.platform()?;
    let org = find_org(engine, org).await?;
    let resources = &engine.resources;
    let record = WorkspaceRecord {
        org: org.clone(),
        workspace: workspace.clone(),
        display_name,
        created_at: clock::now(),
    };
    let parts = [org.as_str(), workspace.as_str()];
    if resources.records.get::<WorkspaceRecord>(&parts).await?.is_none() {
        clear_workspace(engine, &org, &workspace).await?;
    }
    // Why before the record: where no key can be made there must be no workspace either, because it could save nothing.
    resources.vault.ensure_workspace_key(&org, &workspace).await?;
    let writes = Writes::new().require_present::<OrgRecord>(&[org.as_str()]).create(&parts, &record);
    resources.commit(writes).await.map_err(|e| taken(e, &format!("workspace {workspace}")))?;
    Ok(record)
}

/// Lists the workspaces of an org.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `store_unavailable`.
pub async fn list_workspaces(
    engine: &Engine,
    caller: &Caller,
    org: &str,
    wanted: &PageRequest,
) -> Result<Page<WorkspaceRecord>, Error> {
    caller.authorise(PLATFORM_ORG, Some(org), None)?;
    let org = find_org(engine, org).await?;
    let records = &engine.resources.records;
    let found = records.list::<WorkspaceRecord>(&[org.as_str()], wanted.after(), wanted.wanted()).await?;
    Ok(wanted.page(found.into_iter().map(|(_, record, _)| record).collect()))
}

/// Reads a workspace.
///
/// # Errors
/// `role_not_allowed`, `org_not_found`, `workspace_not_found`, `store_unavailable`.
pub async fn show_workspace(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
) -> Result<WorkspaceRecord, Error> {
    caller.platform()?;
    let parts = [tenant.org.as_str(), tenant.workspace.as_str()];
    let found = engine.resources.records.get::<WorkspaceRecord>(&parts).await?;
    found.map(|(record, _)| record).ok_or_else(|| Error::plain(Code::WorkspaceNotFound))
}

/// Deletes a workspace with its credentials, runs, remembered events and tokens. Its running calls end.
///
/// # Errors
/// `role_not_allowed`, `store_unavailable`; deleting it again continues.
pub async fn delete_workspace(engine: &Engine, caller: &Caller, tenant: &Tenant) -> Result<(), Error> {
    caller.platform()?;
    let parts = [tenant.org.as_str(), tenant.workspace.as_str()];
    // Why first: without its record nothing new can be saved or run in it.
    engine.resources.commit(Writes::new().delete::<WorkspaceRecord>(&parts)).await?;
    clear_workspace(engine, &tenant.org, &tenant.workspace).await
}

/// Deletes what a workspace has, except its own record.
async fn clear_workspace(engine: &Engine, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Error> {
    let resources = &engine.resources;
    resources.vault.shred_workspace(org, workspace).await?;
    connection::delete_below(resources, org.as_str(), workspace.as_str()).await?;
    connect::clear_workspace(resources, org, workspace).await?;
    let parts = [org.as_str(), workspace.as_str()];
    resources.commit(Writes::new().delete::<WorkspaceValuesRecord>(&parts)).await?;
    engine.jobs.store.remove(org, workspace).await?;
    idempotency::clear_workspace(resources, org, workspace).await?;
    engine.runs.remove(org, workspace).await?;
    events::forget_workspace(resources, org, workspace).await?;
    let own = |token: &api_token::TokenRecord| {
        token.org.as_ref() == Some(org) && token.workspace.as_ref() == Some(workspace)
    };
    api_token::delete_where(resources, own).await
}

/// Deletes what an org has, except its own record and its workspaces.
async fn clear_org(engine: &Engine, org: &OrgId) -> Result<(), Error> {
    let resources = &engine.resources;
    resources.delete_below::<AutomationRecord>(&[org.as_str()]).await?;
    schedules::forget_org(resources, org).await?;
    engine.jobs.outbox.remove(org).await?;
    webhooks::forget_org(resources, org).await?;
    oauth_clients::forget_org(resources, org).await?;
    resources.commit(Writes::new().delete::<IntegrationSettings>(&[org.as_str()])).await?;
    resources.commit(Writes::new().delete::<RetentionRecord>(&retention::parts_of(org))).await?;
    resources.commit(Writes::new().delete::<OrgLimitsRecord>(&[org.as_str()])).await?;
    resources.commit(Writes::new().delete::<ConnectSettings>(&[org.as_str()])).await?;
    api_token::delete_where(resources, |token| token.org.as_ref() == Some(org)).await
}
