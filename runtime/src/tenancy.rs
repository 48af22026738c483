//! The end of a tenant: everything it had goes, so that a later tenant of the same name starts empty.
//!
//! The workspace's key goes first: whatever else fails, its credentials can never be opened again.
//! The ledger stays: it is the org's proof of what happened, and holds no secret.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{
    AutomationRecord, ConnectorSetting, CredentialState, DiscoveredConfig, IntegrationSettings, OrgRecord,
    TokenIndex, TokenRecord, TokenState, WorkspaceRecord, Writes,
};

use crate::app::App;
use crate::problem::Problem;
use crate::scan;

/// Deletes what a workspace has, but not its own record.
///
/// # Errors
/// `store_unavailable`; calling it again goes on.
pub async fn clear_workspace(app: &App, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Problem> {
    app.vault.shred_workspace(org, workspace).await?;
    let parts = [org.as_str(), workspace.as_str()];
    scan::delete_below::<ConnectorSetting>(&app.records, &parts).await?;
    scan::delete_below::<CredentialState>(&app.records, &parts).await?;
    scan::delete_below::<TokenState>(&app.records, &parts).await?;
    scan::delete_below::<DiscoveredConfig>(&app.records, &parts).await?;
    app.runs.remove(org, workspace).await?;
    delete_tokens(app, |t| t.org.as_ref() == Some(org) && t.workspace.as_ref() == Some(workspace)).await
}

/// Deletes a workspace.
///
/// # Errors
/// As [`clear_workspace`].
pub async fn remove_workspace(app: &App, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Problem> {
    let parts = [org.as_str(), workspace.as_str()];
    // Why first: without its record nothing new can be saved or run in it.
    app.records.commit(Writes::new().delete::<WorkspaceRecord>(&parts)).await?;
    clear_workspace(app, org, workspace).await?;
    let scope = format!("{org}/{workspace}");
    app.gate.drop_connections(|s| s.workspace == scope);
    Ok(())
}

/// Deletes what an org has, but not its own record and its workspaces.
///
/// # Errors
/// As [`clear_workspace`].
pub async fn clear_org(app: &App, org: &OrgId) -> Result<(), Problem> {
    scan::delete_below::<AutomationRecord>(&app.records, &[org.as_str()]).await?;
    app.records.commit(Writes::new().delete::<IntegrationSettings>(&[org.as_str()])).await?;
    delete_tokens(app, |t| t.org.as_ref() == Some(org)).await?;
    app.directory.forget();
    Ok(())
}

/// Deletes an org that has no workspace.
///
/// # Errors
/// As [`clear_workspace`].
pub async fn remove_org(app: &App, org: &OrgId) -> Result<(), Problem> {
    app.records.commit(Writes::new().delete::<OrgRecord>(&[org.as_str()])).await?;
    clear_org(app, org).await
}

async fn delete_tokens(app: &App, doomed: impl Fn(&TokenRecord) -> bool) -> Result<(), Problem> {
    let found = scan::filter::<TokenRecord>(&app.records, &[], |_, token| doomed(token)).await?;
    let ids: Vec<Vec<String>> = found.iter().map(|(_, t, _)| vec![t.token_id.as_str().to_owned()]).collect();
    let hashes: Vec<Vec<String>> = found.iter().map(|(_, t, _)| vec![t.hash.clone()]).collect();
    scan::delete::<TokenRecord>(&app.records, &hashes).await?;
    scan::delete::<TokenIndex>(&app.records, &ids).await?;
    Ok(())
}
