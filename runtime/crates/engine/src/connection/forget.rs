//! Forgetting connections: the one list of what is stored for a connection, and the use case.

use portcullis_store::{
    ConnectionHealth, ConnectorSetting, CredentialState, DiscoveredConfig, TokenState, Writes,
};

use super::{AskedConnection, ConnectionKey, Subject, health};
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
/// one that was never saved there is nothing to do. Others of the same connector stay.
///
/// # Errors
/// Those of [`Caller::authorise`], `connector_not_found`, `not_found` for a text that is no name, `store_unavailable`.
pub async fn forget<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
) -> Result<(), Error> {
    let subject = Subject::find(engine, caller, tenant, asked).await?;
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
        tell(resources, key, "connector_deleted").await?;
    }
    resources.delete_each::<ConnectorSetting>(keys).await?;
    resources.delete_each::<CredentialState>(keys).await?;
    resources.delete_each::<TokenState>(keys).await?;
    resources.delete_each::<DiscoveredConfig>(keys).await?;
    resources.delete_each::<ConnectionHealth>(keys).await?;
    Ok(())
}

/// Tells of a connection that is about to be deleted with something else, in its own commit: there may be many.
async fn tell(resources: &Resources, parts: &[String], cause: &str) -> Result<(), Error> {
    let Some(key) = ConnectionKey::of_parts(parts) else { return Ok(()) };
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
        for rest in &page {
            let key: Vec<String> =
                [org, workspace].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect();
            tell(resources, &key, "workspace_deleted").await?;
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
