//! Forgetting connections: the one list of what is stored for a connection, and the use case.

use portcullis_core::id::{ConnectorId, OrgId, WorkspaceId};
use portcullis_store::{
    ConnectionHealth, ConnectorSetting, CredentialState, DiscoveredConfig, TokenState, Writes,
};

use super::{ConnectionKey, Subject, health};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::revocation::revoke;
use crate::resources::Resources;
use crate::tenants::Tenant;
use crate::webhooks::{EventType, wants};

/// Connections that are told of at a time.
const TOLD_AT_ONCE: usize = 100;

/// Forgets a connection: its token is revoked if the definition says where, and everything stored is deleted. For
/// one that was never saved there is nothing to do.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `store_unavailable`.
pub async fn forget(engine: &Engine, caller: &Caller, tenant: &Tenant, connector: &str) -> Result<(), Error> {
    let subject = Subject::find(engine, caller, tenant, connector).await?;
    let connection = subject.load(engine).await?;
    if connection.stored.setting.is_none() {
        return Ok(());
    }
    revoke(&engine.resources, &connection).await;
    let parts = subject.key.parts();
    let writes = Writes::new()
        .delete::<ConnectorSetting>(&parts)
        .delete::<CredentialState>(&parts)
        .delete::<TokenState>(&parts)
        .delete::<DiscoveredConfig>(&parts)
        .delete::<ConnectionHealth>(&parts);
    let writes = health::removed(&engine.resources, writes, &subject.key, "forgotten").await?;
    engine.resources.commit(writes).await?;
    Ok(())
}

/// Forgets these connections, each given as the parts of its key.
///
/// # Errors
/// `store_unavailable`; some may be deleted already.
pub(crate) async fn delete_all(resources: &Resources, keys: &[Vec<String>]) -> Result<(), Error> {
    for key in keys {
        let [org, workspace, connector] = key.as_slice() else { continue };
        tell(resources, org, workspace, connector, "connector_deleted").await?;
    }
    resources.delete_each::<ConnectorSetting>(keys).await?;
    resources.delete_each::<CredentialState>(keys).await?;
    resources.delete_each::<TokenState>(keys).await?;
    resources.delete_each::<DiscoveredConfig>(keys).await?;
    resources.delete_each::<ConnectionHealth>(keys).await?;
    Ok(())
}

/// Tells of a connection that is about to be deleted with something else, in its own commit: there may be many.
async fn tell(
    resources: &Resources,
    org: &str,
    workspace: &str,
    connector: &str,
    cause: &str,
) -> Result<(), Error> {
    let key = ConnectionKey {
        org: OrgId::parse(org)?,
        workspace: WorkspaceId::parse(workspace)?,
        connector: ConnectorId::parse(connector)?,
    };
    if wants(resources, &key.org, EventType::ConnectionRemoved).await? {
        resources.commit(health::removed(resources, Writes::new(), &key, cause).await?).await?;
    }
    Ok(())
}

/// Forgets every connection of a workspace.
///
/// # Errors
/// As for [`delete_all`].
pub(crate) async fn delete_below(resources: &Resources, org: &str, workspace: &str) -> Result<(), Error> {
    let parts = &[org, workspace];
    let mut after: Option<Vec<String>> = None;
    loop {
        let page = resources.records.keys::<ConnectorSetting>(parts, after.as_deref(), TOLD_AT_ONCE).await?;
        for connector in page.iter().filter_map(|rest| rest.first()) {
            tell(resources, org, workspace, connector, "workspace_deleted").await?;
        }
        let Some(last) = page.last().filter(|_| page.len() == TOLD_AT_ONCE) else { break };
        after = Some(last.clone());
    }
    resources.delete_below::<ConnectorSetting>(parts).await?;
    resources.delete_below::<CredentialState>(parts).await?;
    resources.delete_below::<TokenState>(parts).await?;
    resources.delete_below::<DiscoveredConfig>(parts).await?;
    resources.delete_below::<ConnectionHealth>(parts).await?;
    Ok(())
}
